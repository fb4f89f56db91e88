"""The nginx that is shipped, in front of a real web process."""

import http.client
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.e2e.provider import Gate
from tests.support import services
from tests.support.client import Client
from tests.support.product import ROOT, Product, Web

RUNS_ON = "embedded"
pytestmark = [pytest.mark.slow, pytest.mark.nginx]

MEBIBYTE = 1024 * 1024
STRANGER = "127.0.0.2"
"""An address of this host that is no trusted proxy."""


@pytest.fixture(scope="module")
def proxied(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of nginx with the configuration that is shipped; names, ports and paths replaced."""
    binary = services.nginx()
    if binary is None:
        pytest.skip("no nginx: install nginx-light")
    folder, port = tmp_path_factory.mktemp("nginx"), services.free_port()
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text()
    for ours, here in (
        ("http://web:8000", web.url),
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("/tmp/", f"{folder}/"),
        ("/dev/stdout", f"{folder}/access.log"),
    ):
        assert ours in conf
        conf = conf.replace(ours, here)
    (folder / "nginx.conf").write_text(conf)
    run_as = "user root; " if os.geteuid() == 0 else ""
    command = [binary, "-c", str(folder / "nginx.conf"), "-g", f"{run_as}daemon off;"]
    process = subprocess.Popen(command)
    try:
        services.wait_for_port(port, process, 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
    log = (folder / "access.log").read_text()
    assert '"path":"/login"' in log
    assert "?" not in log


def _upload(url: str, token: str, organization_id: str, size: int) -> requests.Response:
    return requests.post(
        f"{url}/api/experimental/chats/files?organization={organization_id}",
        data=b"x" * size,
        headers={
            "Coder-Session-Token": token,
            "Content-Type": "text/plain",
            "Content-Disposition": 'attachment; filename="a.txt"',
        },
        timeout=60,
    )


def test_an_answer_is_seen_while_it_streams(
    proxied: str, client: Client, gate: Callable[..., Gate]
) -> None:
    near = Client(proxied, client.token)
    held = gate("through nginx", "first")
    chat = near.create_chat("through nginx")["id"]
    with near.follow(chat) as follower:
        follower.wait_for_text("first")
        for number in range(5):
            held.send(f" {number}")
            follower.wait_for_text(f" {number}")
        held.end(" last")
        follower.wait_for_answers(1)
    assert near.messages(chat) == client.messages(chat)


def test_files_up_to_the_limit_pass_and_larger_ones_are_refused(
    proxied: str, client: Client
) -> None:
    def upload(size: int) -> requests.Response:
        return _upload(proxied, client.token, client.organization_id, size)

    assert upload(10 * MEBIBYTE).status_code == 201
    refused = upload(10 * MEBIBYTE + 1)
    assert refused.status_code == 413
    assert "Maximum file size" in refused.json()["detail"]
    refused = upload(33 * MEBIBYTE)
    assert refused.status_code == 413
    assert "nginx" in refused.text


def test_the_address_that_counts_is_what_nginx_saw(
    proxied: str, client: Client, product: Product
) -> None:
    place = proxied.removeprefix("http://")
    connection = http.client.HTTPConnection(place, source_address=(STRANGER, 0), timeout=30)
    connection.request(
        "POST",
        "/api/v2/users/me/keys/tokens",
        body='{"token_name": "by-nginx"}',
        headers={
            "Coder-Session-Token": client.token,
            "Content-Type": "application/json",
            "X-Forwarded-For": "203.0.113.9",
        },
    )
    assert connection.getresponse().status == 201
    connection.close()
    found = product.shell(
        "from chatd.audit.models import AuditEntry as E; print(E.objects.latest('pk').address)"
    )
    assert found.strip() == STRANGER


def test_pages_pass_and_metrics_do_not(proxied: str) -> None:
    page = requests.get(f"{proxied}/login?next=%2Fchats", timeout=30)
    assert page.status_code == 200
    assert page.headers["X-Request-ID"]
    assert requests.get(f"{proxied}/metrics", timeout=30).status_code == 404
