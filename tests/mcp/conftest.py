"""Fixtures of MCP tests: an authorization server, and servers that are connected through it."""

from collections.abc import Iterator

import pytest

from tests.support.authorization import AuthorizationServer


@pytest.fixture
def authorization() -> Iterator[AuthorizationServer]:
    with AuthorizationServer() as server:
        yield server
        server.open.set()
