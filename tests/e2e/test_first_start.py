"""`manage.py up`: the first start, the second, the end, and what stands in its way."""

import re
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.support.client import Client, text_of
from tests.support.product import Product, Web, embedded, wait_until
from tests.support.services import free_port

RUNS_ON = "embedded"
pytestmark = pytest.mark.slow

PASSWORD_LINE = re.compile(r"password:\s+(\S+)\s+\(shown only now\)")


@pytest.fixture(scope="module")
def product():
    with embedded() as started:
        yield started


@pytest.fixture
def web(product):
    """A running `up`, started when no test has left one."""
    for process in product.processes:
        if isinstance(process, Web) and process.is_alive:
            return process
    return product.up()


def _children(pid: int) -> list[int]:
    """Return the processes whose parent, or session, is `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        state, parent, session = fields[0], int(fields[1]), int(fields[3])
        if pid in (parent, session) and int(entry.name) != pid and state != "Z":
            found.append(int(entry.name))
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answered(client: Client, text: str) -> str:
    chat = client.create_chat(text)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
    return text_of(client.messages(chat["id"])[-1])


def test_health_and_readiness_are_served(web):
    assert web.get("/healthz")[0] == 200
    assert web.get("/readyz")[0] == 200


def test_a_token_is_printed_and_nothing_else_while_it_runs(product, web):
    done = product.manage("token", "admin")
    assert re.fullmatch(r"[A-Za-z0-9]{10}-[A-Za-z0-9]{22}\n", done.stdout)
    assert done.stderr == ""
    assert (
        Client(web.url, done.stdout.strip()).call("GET", "/api/v2/users/me")["username"] == "admin"
    )


def test_a_token_of_nobody_is_refused(product, web):
    done = product.manage("token", "nobody", check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert 'no user named "nobody"' in done.stderr


def test_the_demo_model_answers(product, web):
    assert "offline demo model" in _answered(product.client(web), "hello")


def test_the_demo_model_names_a_chat(product, web):
    client = product.client(web)
    chat = client.create_chat("Explain how rainbows form, in three sentences.")
    with client.follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
        follower.wait_for_status("waiting")
    named = client.call("POST", f"/api/experimental/chats/{chat['id']}/title/regenerate")
    assert (chat["title"], named["title"]) == (
        "Explain how rainbows form, in three…",
        "How rainbows form",
    )


def test_a_given_password_is_not_printed(product, web):
    assert "sign in as:      admin" in product.processes[0].log
    assert product.environment["CHATD_ADMIN_PASSWORD"] not in product.logs(lines=10_000)


def test_a_second_up_on_the_same_data_is_refused(product, web):
    second = product.up(ready=False)
    assert second.wait() != 0
    assert "already running" in second.log
    assert str(product.data) in second.log
    assert f"process {web.pid}" in second.log
    assert "Traceback" not in second.log
    assert web.get("/readyz")[0] == 200


def test_ctrl_c_ends_it_and_data_survives(product, web):
    chat = product.client(web).create_chat("hello")
    with product.client(web).follow(chat["id"]) as follower:
        follower.wait_for_answers(1)
        before = product.client(web).messages(chat["id"])
        web.signal(signal.SIGINT)
        assert web.wait() == 0
        assert follower.wait_until_closed() == 1001
    assert _children(web.pid) == []
    assert not _listens(web.port)
    assert "Traceback" not in web.log
    again = product.up()
    assert product.client(again).messages(chat["id"]) == before
    assert "sign in as" not in again.log


def test_a_turn_that_runs_at_the_end_goes_on_after_the_restart(product, web):
    client = product.client(web)
    chat = client.create_chat("tell it slowly please")
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: f.text != "", "the first words")
        assert web.terminate() == 0
        assert follower.wait_until_closed() == 1001
    again = product.up()
    with product.client(again).follow(chat["id"]) as follower:
        follower.wait(lambda f: f.status == "running" and f.text != "", "words after the restart")
        assert follower.answers == []
    product.client(again).interrupt(chat["id"])


def test_a_port_in_use_is_an_error_that_names_it():
    with socket.socket() as taken, embedded() as product:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = product.up(port=port, ready=False)
        assert refused.wait() != 0
        assert str(port) in refused.log
        assert "in use" in refused.log
        assert "Traceback" not in refused.log
        assert "chatd is ready" not in refused.log


def test_a_generated_password_is_shown_once_even_if_the_first_try_fails(tmp_path):
    with socket.socket() as taken, embedded() as product:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        without = ["CHATD_ADMIN_PASSWORD"]
        refused = product.up(port=taken.getsockname()[1], ready=False, without=without)
        assert refused.wait() != 0
        first = product.up(without=without)
        shown = PASSWORD_LINE.search(first.log)
        assert shown is not None
        _sign_in(product, shown.group(1))
        assert first.terminate() == 0
        second = product.up(without=without)
        assert shown.group(1) not in second.log
        assert PASSWORD_LINE.search(second.log) is None


def _sign_in(product: Product, password: str) -> None:
    script = (
        "from django.contrib.auth import authenticate;"
        f"print(authenticate(username='admin', password={password!r}))"
    )
    assert product.shell(script).strip() == "admin"


def test_ctrl_c_ends_it_even_when_its_directory_is_gone():
    """Periodic jobs then cannot note when they ran last; that must not hold up the end."""
    with embedded() as product:
        web = product.up()
        shutil.rmtree(product.data)
        web.signal(signal.SIGINT)
        assert web.wait() == 0


def test_a_killed_up_can_be_started_again():
    with embedded() as product:
        port = free_port()
        web = product.up(port=port)
        web.kill()
        wait_until(lambda: not _listens(port), 120, "the port is free")
        again = product.up(port=port)
        assert again.get("/readyz")[0] == 200
