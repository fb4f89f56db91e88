"""One id leads from a request to the log lines of the turn that it started."""

from collections.abc import Callable

import pytest
import requests

from chatd.chattest import faults
from tests.e2e.provider import ScriptedProvider
from tests.support.client import text_part
from tests.support.product import Product, Web, split

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.fixture
def served(
    request: pytest.FixtureRequest, any_server_url: str, provider: ScriptedProvider
) -> Callable[[], tuple[Product, Web]]:
    """Return how to get a product that serves: everything in one process, or a process per role."""
    if not any_server_url:
        return lambda: (request.getfixturevalue("product"), request.getfixturevalue("web"))

    def start() -> tuple[Product, Web]:
        context = split(any_server_url)
        product = context.__enter__()
        request.addfinalizer(lambda: context.__exit__(None, None, None))
        product.add_models({"base_url": provider.base_url, "is_default": True})
        product.worker()
        return product, product.web()

    return start


def test_the_lines_of_a_turn_carry_the_id_of_its_request(
    served: Callable[[], tuple[Product, Web]], provider: ScriptedProvider
) -> None:
    provider.on("refused", faults.http_error(401, {"error": {"message": "no"}}))
    product, web = served()
    client = product.client(web)
    body = {"organization_id": client.organization_id, "content": [text_part("refused")]}
    answer = requests.post(
        f"{web.url}/api/experimental/chats",
        json=body,
        headers={"Coder-Session-Token": client.token, "X-Request-ID": "asked-by-a-test"},
        timeout=30,
    )
    assert answer.headers["X-Request-ID"] == "asked-by-a-test"
    chat = answer.json()["id"]
    with client.follow(chat) as follower:
        follower.wait_for_status("error", seconds=120)
    (line,) = [
        line
        for process in product.processes
        for line in process.log.splitlines()
        if "turn failed" in line and chat in line
    ]
    assert "correlation_id=asked-by-a-test" in line
    assert "runner_id=" in line
