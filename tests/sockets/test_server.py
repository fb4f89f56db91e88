"""How sockets end: close codes, shutdown, lost peers, peers that read nothing."""

import socket
import struct
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode

from chatd.chats import runs, states
from chatd.live.messages import Episode
from chatd.sockets import registry
from config.env import env
from tests.api.client import API, HEADER, assistant, fresh, start
from tests.sockets.live import SECONDS, LiveServer, delta, kinds, write_parts
from tests.support.people import user_content


class RawSocket:
    """A peer that speaks the protocol by hand and answers nothing on its own."""

    def __init__(self, port: int, path: str, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
            f"{HEADER}: {token}\r\n\r\n".encode()
        )
        self._stream = self._socket.makefile("rb")
        assert b" 101 " in self._stream.readline()
        while self._stream.readline() != b"\r\n":
            pass

    def frame(self) -> tuple[Opcode, bytes]:
        first, length = self._stream.read(2)
        if length == 126:
            (length,) = struct.unpack("!H", self._stream.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._stream.read(8))
        return Opcode(first & 15), self._stream.read(length)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@pytest.mark.parametrize("data", ["hello", "", b"\x00", "{}"])
@pytest.mark.parametrize("kind", ["stream", "watch"])
def test_a_peer_that_speaks_is_closed_for_a_violation(server, chats, tokens, kind, data):
    chat = chats.pending()
    client = server.follow(chat, tokens.alice) if kind == "stream" else server.watch(tokens.alice)
    with client:
        client.socket.send(data)
        assert client.closed() == (1008, "this socket is one-way")


def test_a_peer_that_closes_is_answered(server, chats, tokens):
    with server.follow(chats.pending(), tokens.alice) as client:
        client.take(2)
        client.socket.close(1000, "done")
        assert client.socket.protocol.close_rcvd.code == 1000


def test_a_shutdown_closes_every_socket_as_going_away(server, chats, tokens):
    clients = [
        server.follow(chats.pending(), tokens.alice),
        server.follow(chats.running(), tokens.root),
        server.watch(tokens.alice),
    ]
    server.stop()
    for client in clients:
        assert client.closed() == (1001, "server is shutting down")
    assert not registry._open


def test_a_shutdown_does_not_wait_for_a_peer_that_reads_nothing(
    chats, tokens, monkeypatch, transactional_db
):
    monkeypatch.setattr(registry, "_CLOSE_SECONDS", 0.2)
    chat = chats.pending()
    runs.finish(start(chat), [assistant("x" * 2**20) for _ in range(20)])
    with LiveServer(timeout_graceful_shutdown=1) as server:
        stuck = RawSocket(server.port, f"{API}/chats/{chat.pk}/stream", tokens.alice)
        with server.watch(tokens.alice) as client:
            server.stop()
            assert client.closed()[0] == 1001
        stuck.close()


def test_a_peer_that_answers_no_ping_is_closed_as_going_away(chats, tokens, transactional_db):
    chat = chats.pending()
    with LiveServer(ws_ping_interval=0.05, ws_ping_timeout=0.05) as server:
        peer = RawSocket(server.port, f"{API}/chats/{chat.pk}/stream", tokens.alice)
        frames = [peer.frame()]
        while frames[-1][0] is not Opcode.CLOSE:
            frames.append(peer.frame())
        assert [opcode for opcode, _ in frames].count(Opcode.PING) == 1
        assert frames[-1] == (Opcode.CLOSE, struct.pack("!H", 1001) + b"Ping failed")
        peer.close()


def test_a_peer_that_answers_pings_stays(chats, tokens, transactional_db):
    chat = chats.pending()
    with (
        LiveServer(ws_ping_interval=0.02, ws_ping_timeout=SECONDS) as server,
        server.follow(chat, tokens.alice) as client,
    ):
        client.take(2)
        for _ in range(5):
            client.socket.ping().wait(SECONDS)
        runs.finish(start(chat), [assistant()])
        assert kinds(client.until_status("waiting"))[-1] == "waiting"


def test_the_server_pings_every_fifteen_seconds():
    config = LiveServer().server.config
    assert (config.ws_ping_interval, config.ws_ping_timeout) == (15.0, 15.0)
    assert config.ws_per_message_deflate is False


def test_peers_that_vanish_while_being_sent_to_are_a_normal_end(server, chats, tokens, monkeypatch):
    logged: list[str] = []
    quiet = type("Log", (), {"exception": lambda _, event, **__: logged.append(event)})()
    monkeypatch.setattr("chatd.sockets.consumer.log", quiet)
    chat = chats.pending()
    runs.finish(start(chat), [assistant("x" * 2**20) for _ in range(20)])
    for _ in range(3):
        client = server.follow(chat, tokens.alice)
        client.read()
        client.drop()
    with server.follow(chat, tokens.alice) as client:
        client.take(22)
    server.stop()
    assert logged == []
    assert not registry._open


def test_a_failure_while_sending_closes_with_1011(server, chats, tokens, monkeypatch):
    chat = chats.pending()
    monkeypatch.setattr(
        "chatd.sockets.consumer.log", type("Log", (), {"exception": lambda *_, **__: None})()
    )
    with server.follow(chat, tokens.alice) as client:
        client.take(2)
        monkeypatch.setattr("chatd.sockets.feed.message_body", None)
        runs.finish(start(chat), [assistant()])
        assert client.closed() == (1011, "internal error")


def test_a_lost_doorbell_is_healed(server, chats, tokens, monkeypatch):
    monkeypatch.setattr(registry, "env", replace(env, heal_seconds=0.05))
    chat = chats.waiting()
    with server.follow(chat, tokens.alice) as client:
        client.take(3)
        with monkeypatch.context() as withheld:
            withheld.setattr("chatd.live.local.LocalBackend.publish", lambda *_: None)
            states.send_message(chat.pk, user_content(chat.owner_id, "unheard"))
        events = client.take(2)
        assert kinds(events) == ["message", "pending"]
        runs.finish(start(chat), [assistant()])
        assert kinds(client.take(3)) == ["running", "message", "waiting"]


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_a_full_inbox_is_made_good_from_the_database(server, chats, tokens, monkeypatch, limit):
    monkeypatch.setattr("chatd.sockets.consumer.INBOX_LIMIT", limit)
    chat = chats.pending()
    with server.follow(chat, tokens.alice) as client:
        events = client.take(2)
        for turn in range(5):
            fence = start(chat)
            current = fresh(chat)
            write_parts(
                chat,
                Episode(current.history_version, current.attempt),
                *[[delta(str(index))] for index in range(20)],
            )
            runs.finish(fence, [assistant(f"answer {turn}")])
            states.send_message(chat.pk, user_content(chat.owner_id, f"question {turn}"))
        newest = chat.messages.latest("id").pk
        events += client.until(
            lambda event: event["type"] == "message" and event["message"]["id"] == newest
        )
        events += client.until_status("pending")
    ids = [event["message"]["id"] for event in events if event["type"] == "message"]
    assert ids == sorted(set(ids))
    assert len(ids) == 11


def test_the_peer_is_not_told_twice_that_it_ends(server, chats, tokens):
    with server.follow(chats.pending(), tokens.alice) as client:
        with client.socket.send_context():  # both in one write, before the server can answer
            client.socket.protocol.send_text(b"one")
            client.socket.protocol.send_text(b"two")
        with pytest.raises(ConnectionClosed):
            while True:
                client.frame()
    server.stop()
