"""Whole products as real processes.

Modules say in `RUNS_ON` which deployment they start. Embedded ones use a SQLite of their own and
run when the test run is on SQLite; split ones need the PostgreSQL server of the run. So each runs
once, and none is reported as skipped in the other run.
"""

import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.provider import Gate, ScriptedProvider
from tests.support.client import Client
from tests.support.product import Product, Web, embedded
from tests.support.runs import (
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    server_of_run,
)

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def server_url() -> str:
    """The PostgreSQL server of this run; a redis-server must be there too, or a loud skip."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server binary: the split deployment cannot be started")
    return server_of_run()


@pytest.fixture(scope="session")
def any_server_url(request: pytest.FixtureRequest) -> str:
    """The PostgreSQL server of this run; blank in the run on SQLite."""
    return str(request.getfixturevalue("server_url")) if server_of_run() else ""


@pytest.fixture(scope="session")
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as server:
        yield server


@pytest.fixture
def gate(provider: ScriptedProvider) -> Iterator[Callable[..., Gate]]:
    """Make answers that are let through by the test; those left open are ended with it."""
    made: list[Gate] = []

    def make(prompt: str, *deltas: str) -> Gate:
        made.append(provider.gate(prompt, *deltas))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture(scope="session")
def product(provider: ScriptedProvider) -> Iterator[Product]:
    """An embedded product that several modules share, with the scripted model as default."""
    with embedded(CHATD_RETRY_FIRST_DELAY_SECONDS="0.05") as started:
        started.up()
        started.add_models({"base_url": provider.base_url, "is_default": True})
        yield started


@pytest.fixture(scope="session")
def web(product: Product) -> Web:
    found = product.processes[0]
    assert isinstance(found, Web)
    return found


@pytest.fixture
def client(product: Product, web: Web) -> Client:
    return product.client(web)
