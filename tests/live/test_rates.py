"""One contract for both rate counters, on a real Redis and inside the process."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socket import create_server
from typing import Any
from uuid import uuid4

import pytest
import structlog
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import LogCapture

from chatd.live import rates
from chatd.live.rates import (
    LocalRateCounter,
    RateCounter,
    RedisRateCounter,
    count,
    network_of,
    rate_counter,
)

START = 3_600_000_000.0
"""The beginning of a minute, in Unix seconds."""


@contextmanager
def redis_counter(url: str) -> Iterator[RedisRateCounter]:
    counter = RedisRateCounter(url)
    yield counter
    counter._script.registered_client.connection_pool.disconnect()


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.redis)])
def counter(request: pytest.FixtureRequest) -> Iterator[RateCounter]:
    if request.param == "local":
        yield LocalRateCounter()
    else:
        with redis_counter(request.getfixturevalue("redis_url")) as found:
            yield found


@pytest.fixture
def key() -> str:
    return uuid4().hex


def allowed(counter: RateCounter, key: str, limit: int, times: int) -> int:
    """Return how many of so many attempts were allowed."""
    standings = [counter.hit(key, limit) for _ in range(times)]
    return sum(standing is not None and standing.allowed for standing in standings)


def test_as_many_as_the_limit_are_allowed_and_each_is_told_how_many_are_left(
    counter: RateCounter, key: str, clock: time_machine.Traveller
) -> None:
    standings = [counter.hit(key, 3) for _ in range(5)]
    assert [(s.allowed, s.remaining) for s in standings if s] == [
        (True, 2),
        (True, 1),
        (True, 0),
        (False, 0),
        (False, 0),
    ]
    assert {s.limit for s in standings if s} == {3}


def test_keys_are_counted_apart(
    counter: RateCounter, key: str, clock: time_machine.Traveller
) -> None:
    assert allowed(counter, key, 2, 5) == 2
    assert allowed(counter, uuid4().hex, 2, 5) == 2


def test_the_minute_before_counts_as_far_as_sixty_seconds_reach_back(
    counter: RateCounter, key: str, clock: time_machine.Traveller
) -> None:
    assert allowed(counter, key, 10, 20) == 10
    clock.shift(60 + 30)
    assert allowed(counter, key, 10, 20) == 5, "half of the minute before is still within reach"
    clock.shift(60)
    assert allowed(counter, key, 10, 20) == 8, "half of the five, rounded in favour of the caller"
    clock.shift(120)
    assert allowed(counter, key, 10, 20) == 10


def test_the_headers_name_the_end_of_the_running_minute(
    counter: RateCounter, key: str, clock: time_machine.Traveller
) -> None:
    first = counter.hit(key, 1)
    clock.shift(59)
    last = counter.hit(key, 1)
    assert first is not None
    assert last is not None
    assert first.resets_at == last.resets_at == pytest.approx(rates.time.time() + 1)


@settings(deadline=None)
@given(
    limit=st.integers(1, 20),
    attempts=st.lists(st.tuples(st.floats(0, 70), st.integers(1, 30)), min_size=1, max_size=6),
)
def test_whoever_waits_as_told_is_allowed_and_not_much_sooner(
    limit: int, attempts: list[tuple[float, int]]
) -> None:
    counter = LocalRateCounter()
    with time_machine.travel(START, tick=False) as clock:
        for pause, times in attempts:
            clock.shift(pause)
            allowed(counter, "key", limit, times)
        standing = counter.hit("key", limit)
        if standing.allowed:
            assert standing.retry_after_seconds == 0
            return
        assert 1 <= standing.retry_after_seconds <= 120
        early = max(0, standing.retry_after_seconds - 1.001)
        clock.shift(early)
        assert not counter.hit("key", limit).allowed
        clock.shift(standing.retry_after_seconds - early)
        assert counter.hit("key", limit).allowed


@pytest.mark.redis
@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # only the URL is one
)
@given(steps=st.lists(st.tuples(st.floats(0, 70), st.integers(1, 4)), max_size=40))
def test_both_counters_say_the_same(redis_url: str, steps: list[tuple[float, int]]) -> None:
    key, local = uuid4().hex, LocalRateCounter()
    with redis_counter(redis_url) as shared, time_machine.travel(START, tick=False) as clock:
        for pause, limit in steps:
            clock.shift(pause)
            assert shared.hit(key, limit) == local.hit(key, limit)


def test_a_lowered_limit_holds_at_once(
    counter: RateCounter, key: str, clock: time_machine.Traveller
) -> None:
    assert allowed(counter, key, 10, 10) == 10
    standing = counter.hit(key, 5)
    assert standing is not None
    assert (standing.allowed, standing.remaining) == (False, 0)
    clock.shift(standing.retry_after_seconds)
    assert allowed(counter, key, 5, 1) == 1


def test_threads_that_race_are_allowed_no_more_than_the_limit(
    counter: RateCounter, key: str, clock: time_machine.Traveller
) -> None:
    barrier = threading.Barrier(8)

    def race() -> int:
        barrier.wait()
        return allowed(counter, key, 50, 20)

    with ThreadPoolExecutor(8) as pool:
        racing = [pool.submit(race) for _ in range(8)]
    assert sum(each.result() for each in racing) == 50


# inside the process


def test_keys_that_count_no_longer_are_dropped(clock: time_machine.Traveller) -> None:
    counter = LocalRateCounter()
    for number in range(100):
        counter.hit(str(number), 1)
    clock.shift(60)
    counter.hit("99", 1)
    assert len(counter._counts) == 100, "the minute before still counts"
    clock.shift(60)
    counter.hit("new", 1)
    assert set(counter._counts) == {"99", "new"}


def test_there_is_a_bound_beyond_which_the_quietest_key_is_forgotten(
    clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "MAX_LOCAL_KEYS", 3)
    counter = LocalRateCounter()
    for name in ("quiet", "b", "c", "quiet", "d"):
        counter.hit(name, 1)
    assert set(counter._counts) == {"c", "quiet", "d"}


# Redis


@pytest.mark.redis
def test_processes_share_their_counts(
    redis_url: str, key: str, clock: time_machine.Traveller
) -> None:
    with redis_counter(redis_url) as first, redis_counter(redis_url) as second:
        assert allowed(first, key, 3, 2) == 2
        assert allowed(second, key, 3, 2) == 1
        assert allowed(first, key, 3, 1) == 0


@pytest.mark.redis
def test_what_is_counted_expires(redis_url: str, key: str) -> None:
    with redis_counter(redis_url) as counter:
        counter.hit(key, 1)
        store = counter._script.registered_client
        (found,) = store.keys(f"chat:rate:{key}:*")
        assert 110 < store.ttl(found) <= 120


class _Clock:
    """A monotonic clock of the counters that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("chatd.live.rates.time.monotonic", lambda: self.now)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    capture = LogCapture()
    monkeypatch.setattr(rates, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


def test_with_redis_away_nothing_is_limited_and_that_is_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    clock = _Clock(monkeypatch)
    counter = RedisRateCounter("redis://127.0.0.1:9/0")
    for _ in range(10):
        assert counter.hit("key", 1) is None
        clock.now += 5.5
    assert [entry["log_level"] for entry in logged] == ["warning"]
    clock.now += 10
    assert counter.hit("key", 1) is None
    assert len(logged) == 2


def test_a_redis_that_does_not_answer_is_asked_once_and_then_left_alone(
    monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        counter = RedisRateCounter(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert counter.hit("key", 1) is None
        silent.setblocking(False)
        silent.accept()[0].close()
        assert [counter.hit("key", 1) for _ in range(100)] == [None] * 100
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert len(logged) == 1


@pytest.mark.redis
def test_a_redis_that_is_back_is_asked_again(
    redis_url: str, key: str, monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    clock = _Clock(monkeypatch)
    with redis_counter(redis_url) as counter:
        counter._leave_alone(OSError("away"))
        assert counter.hit(key, 1) is None
        clock.now += 5
        assert allowed(counter, key, 1, 2) == 1


@pytest.mark.redis
def test_connections_that_redis_has_closed_are_made_anew(
    redis_url: str, key: str, clock: time_machine.Traveller
) -> None:
    with redis_counter(redis_url) as counter:
        counter.hit(key, 3)
        client = counter._script.registered_client
        me = client.client_id()
        with redis_counter(redis_url) as other:
            other._script.registered_client.client_kill_filter(_id=me)
        standing = counter.hit(key, 3)
    assert standing is not None
    assert standing.remaining == 1


# what is counted


def test_a_limit_of_zero_counts_nothing() -> None:
    assert count(0, "a") is None


def test_the_parts_of_what_is_counted_do_not_run_together(clock: time_machine.Traveller) -> None:
    standings = [count(1, "ab", "c"), count(1, "a", "bc"), count(1, "ab", "c")]
    assert [s.allowed for s in standings if s] == [True, True, False]


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "x" * 100_000])
def test_any_text_can_be_counted(odd: str) -> None:
    standing = count(1, odd)
    assert standing is not None
    assert standing.allowed


def test_the_configuration_says_where_is_counted(configure: Any) -> None:
    assert isinstance(rate_counter(), LocalRateCounter)
    configure(redis_url="redis://127.0.0.1:9/0")
    rate_counter.cache_clear()
    assert isinstance(rate_counter(), RedisRateCounter)


@pytest.mark.parametrize(
    ("address", "whose"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_an_ipv6_customer_is_one_caller(address: str, whose: str) -> None:
    assert network_of(address) == whose


def test_what_was_counted_can_be_taken_back_once(
    counter: RateCounter, key: str, clock: time_machine.Traveller
) -> None:
    clock.move_to(START)
    counter.take_back(key)
    assert allowed(counter, key, 2, 2) == 2
    counter.take_back(key)
    assert allowed(counter, key, 2, 2) == 1
