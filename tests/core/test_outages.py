"""A database that is away is said once, and its dead connections are not handed out."""

import logging
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection

from chatd.chats import runs
from chatd.chats.models import Chat, Status
from chatd.core import outages
from chatd.core.clock import now
from chatd.core.outages import is_database_answering, report_outage
from chatd.core.shared_clock import from_now
from chatd.providers.models import ModelConfig
from chatd.turns.sweep import sweep
from config.logging import OneLine
from tests.conftest import Cast
from tests.support.people import pending_chat


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is logged from here on; the first line is not kept back."""
    said: list[dict[str, Any]] = []
    log = type("Log", (), {"warning": lambda _, event, **given: said.append(given)})()
    monkeypatch.setattr(outages, "log", log)
    monkeypatch.setattr(outages, "_quiet_until", 0.0)
    monkeypatch.setattr(outages, "_unsaid", 0)
    return said


def test_an_outage_is_one_line_that_counts_what_it_stands_for(
    lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(100):
        report_outage(OperationalError("connection refused\nIs it running?"), during="a request")
    assert lines == [{"during": "a request", "error": "connection refused", "unsaid": 0}]
    monkeypatch.setattr(outages, "_quiet_until", 0.0)
    report_outage(OperationalError(), during="a turn")
    assert lines[1:] == [{"during": "a turn", "error": "OperationalError", "unsaid": 99}]


def test_a_library_that_repeats_itself_is_heard_once_without_its_traceback() -> None:
    def record() -> logging.LogRecord:
        error = ConnectionError("refused")
        about = (type(error), error, None)
        return logging.LogRecord("pubsub", logging.ERROR, "x", 1, "lost %s", ("it",), about)

    sparing, first = OneLine(), record()
    assert sparing.filter(first)
    assert (first.getMessage(), first.exc_info) == ("lost it: refused", None)
    assert not sparing.filter(record())


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_has_ended_is_not_handed_out() -> None:
    assert is_database_answering()
    if connection.vendor == "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [ended] = cursor.fetchone()
    connection.close()  # back into the pool
    with _another_connection() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone() != (ended,)


def _another_connection() -> Any:
    import psycopg  # only where the database is PostgreSQL

    return psycopg.connect(**connection.get_connection_params(), autocommit=True)


@pytest.mark.django_db
@pytest.mark.parametrize("hours", [-1, 1, 24])
def test_a_worker_whose_clock_is_off_takes_no_turn_away_and_gives_none_away(
    cast: Cast, model: ModelConfig, hours: int
) -> None:
    if connection.vendor == "sqlite":
        return  # one machine, one clock
    held = pending_chat(cast.alice, cast.organization, model)
    assert runs.acquire(held.pk, cast.alice.pk, lease_seconds=30)
    with time_machine.travel(now() + timedelta(hours=hours)):
        own = pending_chat(cast.alice, cast.organization, model)
        assert runs.acquire(own.pk, cast.bob.pk, lease_seconds=30)
        assert runs.renew_leases([cast.bob.pk], lease_seconds=30) == {cast.bob.pk}
        sweep()
    sweep()
    for chat in (held, own):
        chat.refresh_from_db()
        assert chat.status == Status.RUNNING
        assert chat.lease_expires_at is not None
        assert timedelta(0) < chat.lease_expires_at - now() <= timedelta(seconds=31)


@pytest.mark.django_db
def test_an_instant_ahead_is_written_by_the_clock_that_is_shared(
    cast: Cast, model: ModelConfig
) -> None:
    chat = pending_chat(cast.alice, cast.organization, model)
    Chat.objects.filter(pk=chat.pk).update(updated_at=from_now(90))
    chat.refresh_from_db()
    assert timedelta(seconds=80) < chat.updated_at - now() < timedelta(seconds=100)
