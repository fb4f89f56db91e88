"""Fixtures of tool tests: servers to call, a turn that calls them, the loop of the workers."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from uuid import uuid4

import pytest
import uvloop

from chatd.mcp.models import MCPServerConfig
from chatd.tools.mcp import connection
from chatd.tools.registry import TurnContext
from tests.conftest import Cast
from tests.support.mcp_server import ToolServer
from tests.support.threads import close_database_threads


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run tests on the loop that turns run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is slow because the machine is, is not left out; tests say who else is."""
    monkeypatch.setattr(connection, "Limits", partial(connection.Limits, connect=120.0, call=120.0))


@pytest.fixture
def tool_server() -> Iterator[ToolServer]:
    with ToolServer() as server:
        yield server


@pytest.fixture
def turn(cast: Cast) -> Iterator[Callable[..., TurnContext]]:
    """Make the context of a turn of alice that names these servers."""

    def make(*servers: MCPServerConfig, **fields: object) -> TurnContext:
        given: dict[str, object] = {
            "chat_id": uuid4(),
            "owner_id": cast.alice.pk,
            "organization_id": cast.organization.pk,
            "mcp_server_ids": [str(server.pk) for server in servers],
        }
        return TurnContext(**given | fields)  # type: ignore[arg-type]

    yield make
    close_database_threads()
