"""Hooks of the tests that start whole products: which run they belong to, and their logs.

A `conftest.py` of such tests imports them under their names.
"""

import os
from collections.abc import Iterator

import pytest

from tests.support.product import Product


def server_of_run() -> str:
    """Return the PostgreSQL server of this run; blank in the run on SQLite."""
    given = os.environ.get("DATABASE_URL", "")
    return given if given.startswith("postgres") else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to the other run."""
    here = "split" if server_of_run() else "embedded"
    runs_on = [getattr(getattr(item, "module", None), "RUNS_ON", here) for item in items]
    left_out = [item for item, wanted in zip(items, runs_on, strict=True) if wanted != here]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item, wanted in zip(items, runs_on, strict=True) if wanted == here]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the logs of every running product to the report of a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for product in Product.running:
            report.sections.append((f"processes of {product.folder.name}", product.logs()))
