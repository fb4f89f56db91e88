"""What our reading of a provider's stream costs per event, beside a bare reader of the same bytes.

`make bench-codecs`. Every recorded stream is served on loopback, event by event, by a process of
its own; each delta comes ten times, so that what a call costs does not hide what a delta does. The
floor reads it with the same HTTP client, cuts it into events and parses their JSON, and does no
more. What is compared is the CPU time of the reading process.
"""

import asyncio
import base64
import multiprocessing
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import orjson
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from chatd.chattest.replay import Interaction, Recording, ReplayServer, load_recording
from chatd.llm.client import create_session, stream
from chatd.llm.types import (
    AwsAccess,
    Provider,
    ReasoningDelta,
    Request,
    TextDelta,
    ToolCallDelta,
)
from chatd.llm.wires.choice import codec_for
from chatd.llm.wires.codec import Codec
from tests.support.recordings import FILES, KINDS

AT_ONCE = 20
ROUNDS = 3
DELTAS = 10
PACE_SECONDS = 0.001

DELTA = TextDelta | ReasoningDelta | ToolCallDelta
Reader = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


def stretched(folder: str, interaction: Interaction) -> Interaction:
    """Return a stream in which each event that is a delta stands `DELTAS` times."""
    decoder = codec_of(folder).decoder(request_of(folder), Provider(kind="x", base_url=""))
    body = b""
    for piece in interaction.pieces:
        is_delta = any(isinstance(event, DELTA) for event in decoder.feed(piece))
        body += piece * (DELTAS if is_delta else 1)
    return replace(interaction, body=body)


def request_of(folder: str) -> Request:
    return Request(model="gpt-5" if folder.endswith("responses") else "m", messages=())


def codec_of(folder: str) -> Codec:
    return codec_for(Provider(kind=KINDS[folder], base_url=""), request_of(folder).model)


def serve(interaction: Interaction, pipe: "multiprocessing.connection.Connection") -> None:
    """Serve a stream as often as it is asked for, until the pipe says so."""
    recording = Recording(name="bench", interactions=(interaction,) * (2 * AT_ONCE * (ROUNDS + 1)))
    with ReplayServer(recording, delta_seconds=PACE_SECONDS) as server:
        pipe.send(server.base_url)
        pipe.recv()


async def bare(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(url, data=b"{}") as response:
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                    orjson.loads(line[5:])


async def bare_frames(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(url, data=b"{}") as response:
        rest = b""
        async for chunk in response.content.iter_any():
            rest += chunk
            while len(rest) >= 4 and len(rest) >= (size := int.from_bytes(rest[:4], "big")):
                frame, rest = rest[:size], rest[size:]
                payload = orjson.loads(frame[12 + int.from_bytes(frame[4:8], "big") : -4])
                if "bytes" in payload:
                    orjson.loads(base64.b64decode(payload["bytes"]))


def ours(folder: str) -> Reader:
    kind = KINDS[folder]
    aws = AwsAccess(region="us-east-1") if kind == "bedrock" else None
    request = request_of(folder)

    async def read(session: aiohttp.ClientSession, url: str) -> None:
        provider = Provider(kind=kind, base_url=url, api_key="k", aws=aws)
        async for _ in stream(request, provider, session=session):
            pass

    return read


async def cpu_seconds(reader: Reader, url: str) -> float:
    """Return the CPU time of reading a stream once, many being read at a time."""
    async with create_session() as session:
        await asyncio.gather(*(reader(session, url) for _ in range(AT_ONCE)))
        began = time.process_time()
        for _ in range(ROUNDS):
            await asyncio.gather(*(reader(session, url) for _ in range(AT_ONCE)))
        return (time.process_time() - began) / (ROUNDS * AT_ONCE)


def measured(folder: str, interaction: Interaction) -> tuple[int, float, float]:
    """Return how many events a stretched stream has, and the CPU times of the floor and of ours."""
    interaction = stretched(folder, interaction)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(interaction, there), daemon=True)
    server.start()
    url = here.recv()
    floor = bare_frames if "amazon" in interaction.content_type else bare
    times = [uvloop.run(cpu_seconds(reader, url)) for reader in (floor, ours(folder))]
    here.send("end")
    server.join()
    return len(interaction.pieces), times[0], times[1]


def main() -> None:
    totals: dict[str, list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
    for path in FILES:
        for interaction in load_recording(path).interactions:
            if "stream" in interaction.content_type:
                for at, value in enumerate(measured(path.parent.name, interaction)):
                    totals[path.parent.name][at] += value
    print(f"{'recordings':<18}{'events':>8}{'floor us':>10}{'ours us':>10}{'ratio':>8}")
    for folder, (events, floor, own) in totals.items():
        micros = f"{floor / events * 1e6:>10.1f}{own / events * 1e6:>10.1f}"
        print(f"{folder:<18}{events:>8.0f}{micros}{own / floor:>8.2f}")


if __name__ == "__main__":
    main()
