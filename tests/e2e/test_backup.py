"""A backup is taken while people work, and another deployment is made of it."""

import gzip
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.provider import ScriptedProvider, paced
from tests.support.client import Client
from tests.support.product import Product, Web, embedded, split, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

KEYS = {
    "CHATD_SECRET_KEY": "a-session-secret-of-the-tests",
    "CHATD_ENCRYPTION_KEYS": "Y2FuYXJ5LWVuY3J5cHRpb24ta2V5LTMyLWJ5dGVzISE=",
}
OTHER_KEY = "YS1sYXRlci1lbmNyeXB0aW9uLWtleS0zMi1ieXRlcyE="
PROVIDER_KEY = "a-key-that-is-restored-3f1"
QUICK = {"CHATD_RETRY_FIRST_DELAY_SECONDS": "0.05", "CHATD_LEASE_SECONDS": "4"}
QUICK |= {"CHATD_LEASE_RENEW_SECONDS": "1", "CHATD_API_RATE_LIMIT": "0"}
SETTINGS = KEYS | QUICK | {"CHATD_UPLOAD_RATE_LIMIT": "0"}
PNG = b"\x89PNG\r\n\x1a\n"
SECONDS = 120.0
"""The longest that one thing may take."""

FILES = "/api/experimental/chats/files"


def _serve(product: Product) -> Web:
    if product.redis is None:
        return product.up()
    product.worker()
    return product.web()


@pytest.fixture
def first(request: pytest.FixtureRequest, any_server_url: str) -> Iterator[Product]:
    """The product that is backed up: on SQLite the one that other tests use, too."""
    if not any_server_url:
        yield request.getfixturevalue("product")
        return
    with split(any_server_url, **SETTINGS) as product:
        yield product


@contextmanager
def _another(first: Product, server_url: str) -> Iterator[Product]:
    """Yield a deployment with an empty database and the keys of the first."""
    if server_url:
        with split(server_url, prepared=False, **SETTINGS) as product:
            yield product
        return
    with embedded(**QUICK) as product:
        product.data.mkdir()
        shutil.copy(first.data / "secrets.json", product.data)
        yield product


@dataclass
class Load:
    """People who write and upload without a pause, in the background."""

    client: Client
    web: Web
    written: int = 0
    failure: BaseException | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self, people: int) -> Iterator[None]:
        threads = [threading.Thread(target=self._work, args=[n]) for n in range(people)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
        assert self.failure is None, self.failure

    def _work(self, number: int) -> None:
        client = Client(self.web.url, self.client.token)
        try:
            chat = client.create_chat("slow")["id"]
            while not self._over.is_set():
                upload(client, self.web, b"load %d" % self.written)
                client.send(chat, f"more of {number}", busy="interrupt")
                self.written += 1
        except BaseException as error:
            self.failure = error


def upload(client: Client, web: Web, content: bytes, kind: str = "text/plain") -> str:
    """Upload a file and return its id."""
    answer = requests.post(
        f"{web.url}{FILES}?organization={client.organization_id}",
        data=content,
        headers={
            "Coder-Session-Token": client.token,
            "Content-Type": kind,
            "Content-Disposition": 'attachment; filename="a file"',
        },
        timeout=30,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def download(client: Client, web: Web, file_id: str) -> bytes:
    answer = requests.get(
        f"{web.url}{FILES}/{file_id}", headers={"Coder-Session-Token": client.token}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def _settled(client: Client, web: Web, prompts: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Have chats with answers and files; return their messages by chat, and the files."""
    files = {}
    chats = []
    for number in range(prompts):
        content = PNG + bytes(range(256)) * 1000 * number
        file_id = upload(client, web, content, "image/png")
        files[file_id] = content
        chat = client.create_chat(f"prompt {number} about zeppelins")["id"]
        parts = [{"type": "text", "text": "and \0 \ue000 this"}]
        parts.append({"type": "file", "file_id": file_id})
        with client.follow(chat) as follower:
            follower.wait_for_answers(1, SECONDS)
            client.call("POST", f"/api/experimental/chats/{chat}/messages", {"content": parts})
            follower.wait_for_answers(2, SECONDS)
        chats.append(chat)
    return {chat: client.messages(chat) for chat in chats}, files


def test_a_backup_under_load_restores_every_chat(
    first: Product, provider: ScriptedProvider, any_server_url: str
) -> None:
    provider.on("slow", paced(["word "] * 2000, 0.01))
    gate = provider.gate("held")
    web = first.processes[0] if any_server_url == "" else _serve(first)
    assert isinstance(web, Web)
    client = first.client(web)
    row = {"base_url": provider.base_url, "key": PROVIDER_KEY, "is_default": True}
    first.add_models(row | {"prices": {"input": "0.15", "output": "1.000001"}})
    messages, files = _settled(client, web, 3)
    held = client.create_chat("held")["id"]
    gate.wait_for_streams(1, SECONDS)
    client.send(held, "queued behind")
    load, backup = Load(client, web), first.folder / "a.backup"
    with load.running(people=3):
        wait_until(lambda: load.written > 3, SECONDS, "people write")
        before = load.written
        first.manage("backup", str(backup))
        assert load.written > before, "nobody wrote meanwhile"
    gate.end("released")

    with ExitStack() as stack:
        if any_server_url:
            backup = _by_way_of_sqlite(backup, stack.enter_context(embedded(**SETTINGS)))
        second = stack.enter_context(_another(first, any_server_url))
        second.manage("restore", str(backup))
        asked = len(provider.requests)
        restored = _serve(second)
        again = Client(restored.url, client.token)
        assert {chat: again.messages(chat) for chat in messages} == messages
        for file_id, content in files.items():
            assert download(again, restored, file_id) == content
        _works_on(again, second, held, messages)
        keys = {request.headers["Authorization"] for request in provider.requests[asked:]}
        assert keys == {f"Bearer {PROVIDER_KEY}"}
        _is_degraded_without_keys(second, restored)


def _by_way_of_sqlite(backup: Path, between: Product) -> Path:
    """Restore into SQLite and back that up: nothing may be lost from one database to the other."""
    between.manage("restore", str(backup))
    again = backup.with_name("again.backup")
    between.manage("backup", str(again))
    assert rows_of(again) == rows_of(backup)
    return again


def rows_of(backup: Path) -> list[str]:
    """Return all rows with the names of their columns, JSON as what it means."""
    found, table, columns = [], "", []
    for line in gzip.decompress(backup.read_bytes()).splitlines():
        value = json.loads(line)
        if isinstance(value, list):
            row = {name: _meaning(v) for name, v in zip(columns, value, strict=True)}
            found.append(json.dumps([table, row], sort_keys=True))
        elif "table" in value:
            table, columns = value["table"], value["columns"]
    return sorted(found)


def _meaning(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _is_degraded_without_keys(product: Product, web: Web) -> None:
    web.terminate()
    product.environment["CHATD_ENCRYPTION_KEYS"] = OTHER_KEY
    web = product.up() if product.redis is None else product.web()
    status, body = web.get("/readyz")
    assert (status, json.loads(body)["status"]) == (200, "degraded")


def _works_on(client: Client, product: Product, held: str, messages: dict[str, Any]) -> None:
    """The turn that ran is run again, the queue goes on, numbers go on, the books agree."""
    with client.follow(held) as follower:
        follower.wait_for_answers(2, SECONDS)
    assert [m["role"] for m in client.messages(held)] == ["user", "assistant"] * 2
    found = client.call("GET", "/api/experimental/chats?q=text%3A%22zeppelins%22")
    assert {chat["id"] for chat in found} == set(messages)
    new = client.create_chat("new")["id"]
    with client.follow(new) as follower:
        follower.wait_for_answers(1, SECONDS)
    known = [m["id"] for listed in messages.values() for m in listed]
    assert min(m["id"] for m in client.messages(new)) > max(known)
    wait_until(lambda: _rests(client), SECONDS, "every turn has ended")
    done = product.manage("check_spend", check=False)
    assert "The books agree" in done.stdout, done.stdout


def _rests(client: Client) -> bool:
    chats = client.call("GET", "/api/experimental/chats?limit=100")
    for chat in chats:
        if chat["status"] in ("pending", "running"):
            client.interrupt(chat["id"])
    return not any(chat["status"] in ("pending", "running") for chat in chats)
