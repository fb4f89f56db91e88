"""A model provider with a set pace, for measurements: `python provider.py PORT`.

Speaks OpenAI chat completions. A prompt ends with an order, `[run=<id> deltas=<n> rate=<n>]`; the
answer is n deltas of five characters, so many a second, the first one at once. When each delta was
written stands at `/runs/<id>` afterwards: a JSON list of nanoseconds of the machine's monotonic
clock. A request without `stream` is answered whole, with a few words.
"""

import asyncio
import re
import sys
import time
from typing import Any

import orjson
import uvloop
from aiohttp import web

_ORDER = re.compile(r"\[run=(\S+) deltas=(\d+) rate=(\d+)\]")
_CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"bench",'
_USAGE = b'"usage":{"prompt_tokens":20,"completion_tokens":%d,"total_tokens":%d}}\n\n'


def order(run: str, *, deltas: int, rate: int) -> str:
    """Return the words that order an answer."""
    return f"[run={run} deltas={deltas} rate={rate}]"


def delta_text(number: int) -> str:
    """Return the five characters of the delta of a number; every delta of an answer differs."""
    return f"{number % 10_000:04d} "


def answer_text(deltas: int) -> str:
    return "".join(delta_text(number) for number in range(deltas))


def _delta(number: int) -> bytes:
    choice = b'"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
    return _CHUNK + choice % delta_text(number).encode()


_ROLE = (
    _CHUNK
    + b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
)
_STOP = _CHUNK + b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


def _end(deltas: int) -> bytes:
    usage = _CHUNK + b'"choices":[],' + _USAGE % (deltas, deltas + 20)
    return _STOP + usage + b"data: [DONE]\n\n"


class Paced:
    """The server: what it was asked for, and when it wrote what."""

    def __init__(self) -> None:
        self.written: dict[str, list[int]] = {}

    def application(self) -> web.Application:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/v1/chat/completions", self.complete)
        application.router.add_get("/runs/{run}", self.run)
        return application

    async def run(self, request: web.Request) -> web.Response:
        times = self.written.pop(request.match_info["run"], [])
        return web.Response(body=orjson.dumps(times), content_type="application/json")

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        if not body.get("stream"):
            return web.Response(body=_WHOLE, content_type="application/json")
        run, deltas, rate = _ordered(body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await self._stream(response, run, deltas, rate)
        await response.write_eof()
        return response

    async def _stream(self, response: web.StreamResponse, run: str, deltas: int, rate: int) -> None:
        loop = asyncio.get_running_loop()
        written = self.written[run] = []
        began = loop.time()
        await response.write(_ROLE)
        for number in range(deltas):
            delay = began + number / rate - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            written.append(time.monotonic_ns())
            await response.write(_delta(number))
        await response.write(_end(deltas))


def _ordered(body: dict[str, Any]) -> tuple[str, int, int]:
    content = body["messages"][-1]["content"]
    if isinstance(content, list):
        content = " ".join(part.get("text", "") for part in content)
    found = _ORDER.search(content)
    if found is None:
        return "unordered", 10, 50
    return found[1], int(found[2]), int(found[3])


_WHOLE = orjson.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "A short title"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23},
    }
)


if __name__ == "__main__":
    uvloop.install()
    web.run_app(
        Paced().application(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None
    )
