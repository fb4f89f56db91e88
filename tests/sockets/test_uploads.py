"""Uploads through the real server: cut off, too large, and what is looked at first."""

import json
import socket
from dataclasses import dataclass
from typing import Any

import pytest

from chatd.chats.media import MAX_FILE_BYTES
from chatd.chats.models import ChatFile, ChatMessage
from tests.api.client import API, HEADER, NIL
from tests.sockets.live import SECONDS

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any


class RawRequest:
    """A request that is sent piece by piece."""

    def __init__(self, port: int, path: str, token: str, **headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        sent = {"Host": "127.0.0.1", HEADER: token, **headers}
        lines = [f"POST {API}{path} HTTP/1.1", *(f"{key}: {value}" for key, value in sent.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def abandon(self) -> None:
        self._socket.close()

    def reply(self) -> Reply:
        with self._socket, self._socket.makefile("rb") as stream:
            status = int(stream.readline().split()[1])
            length = 0
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            return Reply(status, json.loads(stream.read(length)))


@pytest.fixture
def upload(server, cast, tokens):
    """Return a function that starts an upload of alice; nothing of its body is sent yet."""
    token = tokens.alice

    def begin(organization: str = "", token: str = token, **headers: str) -> RawRequest:
        query = f"?organization={organization or cast.organization.pk}"
        described = {
            "Content-Type": "image/png",
            "Content-Disposition": 'attachment; filename="a.png"',
        }
        path = f"/chats/files{query}"
        return RawRequest(server.port, path, token, **{**described, **headers})

    return begin


def test_an_upload_that_is_sent_whole_is_stored(upload):
    request = upload(**{"Content-Length": "16"})
    request.send(PNG)
    request.send(b"\0" * 8)
    assert request.reply().status == 201
    assert len(ChatFile.objects.get().data) == 16


@pytest.mark.parametrize("name", ["na\u00efve \u20ac \U0001f600.png", "plain.png"])
def test_a_name_in_plain_utf_8_is_read_as_that(upload, name):
    request = upload(
        **{"Content-Length": "8", "Content-Disposition": f'attachment; filename="{name}"'}
    )
    request.send(PNG)
    assert request.reply().status == 201
    assert ChatFile.objects.get().name == name


@pytest.mark.parametrize("sent", [b"", PNG, PNG + b"\0" * 500, PNG + b"\0" * (3 * 2**20)])
def test_an_upload_that_is_cut_off_leaves_nothing(server, upload, sent):
    request = upload(**{"Content-Length": str(len(sent) + 1)})
    request.send(sent)
    request.abandon()
    server.stop()
    assert not ChatFile.objects.exists()


def test_an_upload_in_chunks_that_is_cut_off_leaves_nothing(server, upload):
    request = upload(**{"Transfer-Encoding": "chunked"})
    request.send(b"8\r\n" + PNG + b"\r\n")
    request.abandon()
    server.stop()
    assert not ChatFile.objects.exists()


def test_a_message_that_is_cut_off_leaves_nothing(server, chats, tokens):
    chat = chats.waiting()
    before = ChatMessage.objects.count()
    body = json.dumps({"content": [{"type": "text", "text": "half"}]}).encode()
    length = {"Content-Length": str(len(body) + 1)}
    request = RawRequest(server.port, f"/chats/{chat.pk}/messages", tokens.alice, **length)
    request.send(body)
    request.abandon()
    server.stop()
    assert ChatMessage.objects.count() == before


def test_the_largest_upload_is_stored_and_one_byte_more_is_not(upload):
    largest = PNG + b"\0" * (MAX_FILE_BYTES - len(PNG))
    for body, status in ((largest, 201), (largest + b"\0", 413)):
        request = upload(**{"Content-Length": str(len(body))})
        request.send(body)
        assert request.reply().status == status
    assert ChatFile.objects.count() == 1


@pytest.mark.parametrize(
    "headers", [{"Content-Length": str(2**40)}, {"Transfer-Encoding": "chunked"}], ids=str
)
def test_an_upload_that_is_too_large_is_answered_before_the_rest_is_read(upload, headers):
    request = upload(**headers)
    if "Transfer-Encoding" in headers:
        request.send(f"{2**40:x}\r\n".encode())
    request.send(PNG + b"\0" * (MAX_FILE_BYTES + 1 - len(PNG)))
    assert request.reply() == Reply(
        413,
        {"message": "File too large.", "detail": "Maximum file size is 10485760 bytes."},
    )


@pytest.mark.parametrize("size", [MAX_FILE_BYTES + 2**20, 4 * MAX_FILE_BYTES])
def test_a_client_that_reads_only_after_it_sent_everything_is_answered_too(upload, size):
    request = upload(**{"Content-Length": str(size)})
    request.send(b"x" * size)
    assert request.reply().status == 413


@pytest.mark.parametrize(
    ("wrong", "status", "message"),
    [
        ({"token": "nonsense"}, 401, None),
        ({"organization": "x"}, 400, "Invalid organization ID."),
        ({"organization": NIL}, 403, "Forbidden."),
        ({"Content-Type": "video/mp4"}, 400, "Unsupported file type."),
        ({"Content-Disposition": "x"}, 413, "File too large."),
    ],
)
def test_the_size_has_its_place_in_the_order_of_the_checks(upload, wrong, status, message):
    request = upload(**{"Content-Length": str(2**40), **wrong})
    request.send(b"x" * (MAX_FILE_BYTES + 1))
    reply = request.reply()
    assert reply.status == status
    assert message in (None, reply.body["message"])
