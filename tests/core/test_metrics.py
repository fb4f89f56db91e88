"""The metrics that dashboards read: exact names, types, labels and buckets."""

import pytest

from chatd.core import metrics

MODEL = ("provider", "model")
TOOL = (*MODEL, "tool_name")
BYTES = "1024 4096 16384 65536 262144 1048576 4194304 16777216 67108864 268435456"
COUNTS = "1 2 4 8 16 32 64 128 256 512 1024"
RESULTS = "64 256 1024 4096 16384 65536 262144 1048576 4194304"
SECONDS = "0.05 0.1 0.25 0.5 1 2.5 5 10 30 60"
ROUNDS = "1 5 10 30 60 300 600"

TABLE: list[tuple[str, str, tuple[str, ...], str]] = [
    ("coderd_chatd_chats", "gauge", ("state",), ""),
    ("coderd_chatd_message_count", "histogram", MODEL, COUNTS),
    ("coderd_chatd_prompt_size_bytes", "histogram", MODEL, BYTES),
    ("coderd_chatd_tool_result_size_bytes", "histogram", TOOL, RESULTS),
    ("coderd_chatd_tool_errors_total", "counter", TOOL, ""),
    ("coderd_chatd_ttft_seconds", "histogram", MODEL, SECONDS),
    ("coderd_chatd_compaction_total", "counter", (*MODEL, "result"), ""),
    ("coderd_chatd_steps_total", "counter", MODEL, ""),
    ("coderd_chatd_stream_retries_total", "counter", (*MODEL, "kind", "chain_broken"), ""),
    ("coderd_chatd_stream_buffer_dropped_total", "counter", (), ""),
    ("coderd_chatd_streams_active", "gauge", (), ""),
    ("coderd_chatd_stream_buffer_size_max", "gauge", (), ""),
    ("coderd_chatd_stream_buffer_events", "gauge", (), ""),
    ("coderd_chatd_stream_subscribers", "gauge", (), ""),
    ("coderd_dbpurge_chat_auto_archive_records_archived_total", "counter", (), ""),
    ("coderd_dbpurge_records_purged_total", "counter", ("record_type",), ""),
    ("coderd_dbpurge_iteration_duration_seconds", "histogram", ("success",), ROUNDS),
]


@pytest.fixture
def shown(exposed):
    """What is exposed once everything was counted at least once."""
    meter = metrics.StepMeter("p", "m", messages=3)
    meter.sized(2000)
    meter.first_piece(0.0)
    meter.retried("timeout", chain_broken=True)
    metrics.count_tool_result("p", "m", "t", size=70, is_error=True)
    metrics.count_compaction("p", "m", "timeout")
    metrics.count_dropped(1)
    metrics.count_archived(2)
    metrics.count_purged("chats", 3)
    with metrics.purge_round():
        pass
    return exposed()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_a_metric_is_exposed_exactly_as_dashboards_know_it(shown, row) -> None:
    name, kind, labels, buckets = row
    assert shown.types[name] == kind
    sample = {"histogram": name + "_bucket"}.get(kind, name)
    found = [given for each, given, _ in shown.samples if each == sample]
    assert found
    expected = {*labels, "le"} if kind == "histogram" else set(labels)
    assert {frozenset(given) for given in found} == {frozenset(expected)}
    if kind == "histogram":
        wanted = {*map(float, buckets.split()), float("inf")}
        assert {float(given["le"]) for given in found} == wanted


def test_nothing_else_is_exposed(shown) -> None:
    assert sorted(shown.types) == sorted(name for name, *_ in TABLE)


def test_what_was_counted_is_what_is_shown(exposed) -> None:
    before = exposed()
    meter = metrics.StepMeter("kind", "a-model", messages=3)
    meter.sized(2000)
    meter.sized(2000)
    meter.retried("rate_limit", chain_broken=False)
    metrics.count_tool_result("kind", "a-model", "find", size=70, is_error=False)
    metrics.count_tool_result("kind", "a-model", "find", size=40, is_error=True)
    after = exposed()

    def grown(name: str, **labels: str) -> float:
        given = {"provider": "kind", "model": "a-model", **labels}
        return after.value(name, **given) - before.value(name, **given)

    assert grown("coderd_chatd_steps_total") == 1
    assert grown("coderd_chatd_message_count_sum") == 3
    assert grown("coderd_chatd_prompt_size_bytes_count") == 1, "tries send the same again"
    assert grown("coderd_chatd_prompt_size_bytes_bucket", le="1024.0") == 0
    assert grown("coderd_chatd_prompt_size_bytes_bucket", le="4096.0") == 1
    retried = {"kind": "rate_limit", "chain_broken": "false"}
    assert grown("coderd_chatd_stream_retries_total", **retried) == 1
    assert grown("coderd_chatd_tool_result_size_bytes_sum", tool_name="find") == 110
    assert grown("coderd_chatd_tool_errors_total", tool_name="find") == 1


def test_a_round_that_fails_is_no_success(exposed) -> None:
    name = "coderd_dbpurge_iteration_duration_seconds_count"
    before = exposed()
    with pytest.raises(ZeroDivisionError), metrics.purge_round():
        raise ZeroDivisionError
    after = exposed()
    assert after.value(name, success="false") - before.value(name, success="false") == 1
    assert after.value(name, success="true") == before.value(name, success="true")
