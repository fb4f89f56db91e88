"""Clients that do not read, and clients that are gone without having said so."""

import base64
import os
import random
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.faults.caller import once
from tests.faults.deployment import PING_SECONDS, Stage
from tests.faults.provider import FLOOD
from tests.support.client import text_part
from tests.support.product import Web

_EACH = 4
_MOST_GROWTH_KB = 150_000
_DROPPED_SECONDS = 2 * PING_SECONDS + 15.0


def deaf_and_vanished_clients(stage: Stage, chance: random.Random) -> list[str]:
    """Some sockets never read, others hang behind a line that forwards no more; all stay open."""
    place, web = stage.place, chance.choice(stage.deployment.webs)
    body = {
        "organization_id": place.organization_id,
        "content": [text_part(f"{FLOOD}-{chance.randrange(10**9)}")],
    }
    token = place.people[0].token
    chat = once(web.url, token, "POST", "/api/experimental/chats", body).body
    before = _resident_kb(web)
    line = DeadLine(urlsplit(web.url).port or 0)
    sockets = [_deaf(urlsplit(web.url).port or 0, chat["id"], token) for _ in range(_EACH)]
    sockets += [_deaf(line.port, chat["id"], token) for _ in range(_EACH)]
    line.is_dead.set()
    own = {each.getsockname()[1] for each in sockets[:_EACH]} | set(line.server_side)
    deadline = time.monotonic() + _DROPPED_SECONDS
    most = 0
    while (left := _established(web, own)) and time.monotonic() < deadline:
        most = max(most, _resident_kb(web) - before)
        time.sleep(0.2)
    for each in sockets:
        each.close()
    line.close()
    found = [f"{left} dead sockets of {2 * _EACH} are still open"] if left else []
    if most > _MOST_GROWTH_KB:
        found.append(f"the web grew by {most} kB for sockets that do not read")
    return found


def _deaf(port: int, chat_id: str, token: str) -> socket.socket:
    """Open a stream by hand, with next to no room for what comes, and read no further."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(20)
    made.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    made.sendall(
        f"GET /api/experimental/chats/{chat_id}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Version: 13\r\nCoder-Session-Token: {token}\r\n\r\n".encode()
    )
    assert b" 101 " in made.recv(64)
    return made


class DeadLine:
    """A proxy in front of a web, which at some moment forwards nothing any more, in silence."""

    def __init__(self, port: int) -> None:
        self.is_dead = threading.Event()
        self.server_side: list[int] = []
        self._target = port
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                self.server_side.append(far.getsockname()[1])
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._forward, args=(source, target), daemon=True
                    ).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while not self.is_dead.is_set() and (passed := source.recv(4096)):
                target.sendall(passed)


def _established(web: Web, ports: set[int]) -> int:
    """Return how many connections from these ports a web still holds."""
    own = urlsplit(web.url).port
    count = 0
    for line in Path(f"/proc/{web.pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        is_ours = int(local.split(":")[1], 16) == own and int(remote.split(":")[1], 16) in ports
        count += is_ours and state == "01"
    return count


def _resident_kb(web: Web) -> int:
    for line in Path(f"/proc/{web.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
