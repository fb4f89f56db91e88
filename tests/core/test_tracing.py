"""Traces that are off cost nothing; what is set wrongly is told with a sentence."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from chatd.core import tracing
from config import env as environment
from config.env import EnvironmentError_, read_environment
from tests.support.product import scrubbed_environment

ROOT = Path(__file__).resolve().parents[2]
ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318/"}

_IMPORTED = """
import sys
import config.asgi, config.celery
import chatd.turns.tasks, chatd.turns.runtime
from chatd.core import tracing
with tracing.span("nothing") as told:
    told.fail("nothing")
assert tracing.traceparent() == ""
sending = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf")
print([name for name in sys.modules if name.startswith(sending)])
"""


def test_a_span_of_no_trace_is_one_thing_that_is_always_the_same() -> None:
    assert not tracing.is_on()
    first, second = tracing.span("first"), tracing.span("second", parent="", attributes={"a": 1})
    assert first is second
    with first as told:
        told.set({"a": 1})
        told.name("other")
        told.fail("error")
        assert not told.is_recorded


def test_nothing_that_traces_is_imported_while_it_is_off(tmp_path: Path) -> None:
    """The client of Redis imports metrics of OpenTelemetry where they are installed."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED],
        cwd=ROOT,
        env=scrubbed_environment() | {"CHATD_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_no_collector_is_no_traces() -> None:
    assert read_environment({}).traces is None
    assert read_environment({"OTEL_SERVICE_NAME": "chatd-eu"}).traces is None
    assert read_environment(ON | {"OTEL_SDK_DISABLED": "true"}).traces is None


def test_the_endpoint_alone_switches_traces_on() -> None:
    traces = read_environment(ON).traces
    assert traces is not None
    assert traces.url == "http://collector.example:4318/v1/traces"
    assert (traces.service_name, traces.headers) == ("chatd", {})


def test_headers_may_stand_in_a_file_and_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization=Bearer%20a-secret, x-tenant = one\n", encoding="utf-8")
    given = ON | {"OTEL_EXPORTER_OTLP_HEADERS_FILE": str(file), "OTEL_SERVICE_NAME": "chatd-eu"}
    traces = read_environment(given).traces
    assert traces is not None
    assert traces.headers == {"Authorization": "Bearer a-secret", "x-tenant": "one"}
    assert traces.service_name == "chatd-eu"
    assert "a-secret" not in repr(read_environment(given))


BAD = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector.example:4318"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector.example:4317"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:port"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://somebody:a-secret@collector.example"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a-secret"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "=a-secret"),
    ("OTEL_SDK_DISABLED", "perhaps"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_told_with_its_variable_and_without_secrets(name: str, value: str) -> None:
    with pytest.raises(EnvironmentError_, match=f"^{name} ") as refused:
        read_environment({**ON, name: value})
    assert "a-secret" not in str(refused.value)


@pytest.mark.parametrize("is_there", [True, False], ids=["a package is missing", "all are"])
def test_a_collector_without_the_extra_is_told(
    monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    def find(name: str) -> ModuleSpec | None:
        if is_there and name == "opentelemetry.sdk":
            return ModuleSpec(name, None)
        if is_there:
            return None
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(environment, "find_spec", find)
    with pytest.raises(EnvironmentError_, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT .* not installed"):
        read_environment(ON)
    assert read_environment({}).traces is None, "nobody needs it without a collector"
