"""A provider's key is encrypted where it is stored and appears nowhere else."""

import threading

import pytest

from chatd.chattest import faults
from tests.e2e.provider import ScriptedProvider, answer, held_until, in_turn
from tests.support.product import embedded, wait_until

RUNS_ON = "embedded"
pytestmark = pytest.mark.slow

KEY = "plain-text-canary-7f3a9c51e2"


def _recording():
    return embedded(CHATD_LOG_LEVEL="DEBUG", CHATD_FORCE_DEBUG_LOGGING="1")


@pytest.fixture(scope="module")
def ran():
    """A product whose provider was used, well and badly, and which was then stopped."""
    with ScriptedProvider() as provider, _recording() as product:
        web = product.up()
        product.add_models({"base_url": provider.base_url, "key": KEY, "is_default": True})
        client = product.client(web)
        echo = {"error": {"message": f"The key {KEY} is not valid."}}
        refusal = faults.http_error(429, echo, {"Retry-After": "0"})
        for prompt, handler in [
            ("a good one", answer("fine")),
            ("a refused one", faults.http_error(401, echo)),
            ("a repeated one", in_turn(refusal, answer("fine again"))),
            ("a broken one", in_turn(faults.close_midway(1), answer("mended"))),
        ]:
            followed = threading.Event()
            provider.on(prompt, held_until(followed, handler))
            chat = client.create_chat(prompt)
            with client.follow(chat["id"]) as follower:
                follower.wait(lambda f: len(f.events) > 0, "a snapshot")
                followed.set()
                follower.wait_for_status("waiting", "error")
            client.messages(chat["id"])
            client.chat(chat["id"])
            runs = f"/api/experimental/chats/{chat['id']}/debug/runs"
            wait_until(lambda path=runs: _has_ended(client, path), 120, "its calls are recorded")
        client.call("GET", "/api/experimental/chats")
        sent = [request.headers["Authorization"] for request in provider.requests]
        files = {path.name: path.read_bytes() for path in product.data.iterdir() if path.is_file()}
        web.terminate()
        files |= {f"{path.name} after": path.read_bytes() for path in product.data.iterdir()}
        logs = {process.name: process.log.encode() for process in product.processes}
        yield sent, files, logs, client.bodies, client.token


def _has_ended(client, path):
    listed = client.call("GET", path)
    for run in listed:
        client.call("GET", f"{path}/{run['id']}")
    return any("finished_at" in run for run in listed)


def test_the_provider_gets_the_key(ran):
    sent, *_ = ran
    assert len(sent) >= 6
    assert set(sent) == {f"Bearer {KEY}"}


def test_no_file_of_the_data_directory_holds_the_key(ran):
    _, files, *_ = ran
    assert "chatd.sqlite3" in files
    assert [name for name, content in files.items() if KEY.encode() in content] == []


def test_no_log_holds_the_key_or_a_token(ran):
    _, _, logs, _, token = ran
    assert all(b"POST" in content for content in logs.values())
    assert [name for name, content in logs.items() if KEY.encode() in content] == []
    assert [name for name, content in logs.items() if token.encode() in content] == []


def test_no_answer_and_no_frame_holds_the_key(ran):
    _, _, _, bodies, _ = ran
    assert any(b"redacted" in body for body in bodies)
    assert any(b"The key [REDACTED] is not valid." in body for body in bodies)
    assert [body for body in bodies if KEY.encode() in body] == []


def test_no_file_holds_a_token(ran):
    _, files, _, _, token = ran
    secret = token.split("-")[1].encode()
    assert [name for name, content in files.items() if secret in content] == []


_RENDER = """
import logging
from django.template import Context, Template
logging.getLogger("somebody").debug("a line")
context = Context({"password": "plain-text-canary-44e0b1"})
print(Template("{% if missing.part %}{% endif %}{{ missing }}rendered").render(context))
"""


def test_a_page_that_looks_for_what_is_not_there_does_not_log_what_is():
    with embedded(CHATD_LOG_LEVEL="DEBUG") as product:
        done = product.manage("shell", "--no-imports", "-v", "0", "-c", _RENDER)
    assert "rendered" in done.stdout
    assert "a line" in done.stderr
    assert "canary" not in done.stderr
