"""One trace leads from a request to its turn, its model calls and its tools, in every process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests

from chatd.chattest import faults
from tests.e2e.provider import ScriptedProvider, answer, calls, in_turn
from tests.e2e.test_mcp_tools import connected
from tests.support.client import Client, text_part
from tests.support.collector import Collector, Seen
from tests.support.mcp_server import ToolServer
from tests.support.product import Product, Web, embedded, split, wait_until
from tests.support.services import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

POST_CHAT = "POST /api/experimental/chats"
TURN = "invoke_agent chatd"
MODEL = "chat fake-model"
TOOL = "execute_tool real__greet"
PROVIDER_KEY = "a-key-of-the-provider-that-nobody-sees"
COLLECTOR_KEY = "a-key-of-the-collector-that-nobody-sees"


NEVER_SENT = (PROVIDER_KEY, COLLECTOR_KEY, "the traces", "Grace", "a-secret")
"""What is said, entered and configured in these tests, and must be in no span."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where all of these tests send their traces, looked through when they are over."""
    with Collector() as serving:
        yield serving
    assert {each["authorization"] for each in serving.headers} == {f"Bearer {COLLECTOR_KEY}"}
    for secret in NEVER_SENT:
        assert secret.encode() not in serving.bodies


@contextmanager
def traced(
    server_url: str, collector: Collector, provider: ScriptedProvider, **settings: str
) -> Iterator[Product]:
    """Yield everything in one process, or a process per role, that trace to the collector."""
    with TemporaryDirectory() as folder:
        headers = Path(folder) / "headers"
        headers.write_text(f"authorization=Bearer%20{COLLECTOR_KEY}")
        settings |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS_FILE": str(headers),
            "OTEL_SERVICE_NAME": "chatd-of-tests",
            "CHATD_RETRY_FIRST_DELAY_SECONDS": "0.05",
        }
        made = split(server_url, **settings) if server_url else embedded(**settings)
        with made as started:
            if server_url:
                started.worker()
                started.web()
            else:
                started.up()
            model = {"base_url": provider.base_url, "is_default": True, "key": PROVIDER_KEY}
            started.add_models(model)
            yield started


@pytest.fixture(scope="module")
def product(
    any_server_url: str, collector: Collector, provider: ScriptedProvider
) -> Iterator[Product]:
    quick = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
    with traced(any_server_url, collector, provider, **quick) as started:
        yield started
        assert all(COLLECTOR_KEY not in process.log for process in started.processes)


@pytest.fixture
def web(product: Product) -> Web:
    return next(each for each in product.processes if isinstance(each, Web))


@pytest.fixture
def client(product: Product, web: Web) -> Client:
    return product.client(web)


def asked(
    client: Client, web: Web, words: str, *servers: str, **headers: str
) -> tuple[str, requests.Response]:
    """Make a chat with a message by the API; return its id and the answer."""
    answered = requests.post(
        f"{web.url}/api/experimental/chats",
        json={
            "organization_id": client.organization_id,
            "content": [text_part(words)],
            "mcp_server_ids": list(servers),
        },
        headers={"Coder-Session-Token": client.token, **headers},
        timeout=30,
    )
    assert answered.status_code == 201
    return answered.json()["id"], answered


def only(spans: list[Seen], name: str) -> Seen:
    (found,) = [span for span in spans if span.name == name]
    return found


def test_a_request_its_turn_its_model_calls_and_its_tools_are_one_trace(
    any_server_url: str,
    client: Client,
    web: Web,
    provider: ScriptedProvider,
    collector: Collector,
) -> None:
    words, greeting = "please greet somebody of the traces", "Grace of the traces"
    wanted = calls(("call-of-traces", "real__greet", json.dumps({"name": greeting})))
    provider.on(words, in_turn(wanted, answer("This was said by a model of the traces.")))
    with ToolServer() as tools:
        server = connected(client, tools.url, slug="real")
        trace, outside = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
        named = {"traceparent": f"00-{trace}-{outside}-01", "X-Request-ID": "asked-for-a-trace"}
        chat, _ = asked(client, web, words, server, **named)
        with client.follow(chat) as follower:
            follower.wait_for_answers(2)
        spans = collector.wait_for(trace, POST_CHAT, TURN, MODEL, TOOL)
    request, turn, tool = only(spans, POST_CHAT), only(spans, TURN), only(spans, TOOL)
    first, second = (span for span in spans if span.name == MODEL)
    assert request.parent == outside
    assert turn.parent == request.id
    assert {first.parent, second.parent, tool.parent} == {turn.id}
    assert len(spans) == 5
    assert [span.kind for span in (request, turn, first, tool)] == [
        "server",
        "consumer",
        "client",
        "internal",
    ]
    assert not any(span.is_error for span in spans)
    processes = {request.process["process.pid"], turn.process["process.pid"]}
    assert len(processes) == (2 if any_server_url else 1)
    assert {span.process["service.name"] for span in spans} == {"chatd-of-tests"}

    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/experimental/chats",
        "http.response.status_code": 201,
        "chatd.correlation_id": "asked-for-a-trace",
    }
    about_turn = turn.attributes
    assert about_turn.pop("chatd.runner_id")
    assert about_turn == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "chatd",
        "gen_ai.conversation.id": chat,
        "chatd.correlation_id": "asked-for-a-trace",
        "chatd.attempt": 1,
        "chatd.turn.status": "waiting",
    }
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    about_call = second.attributes
    assert 0 < about_call.pop("gen_ai.response.time_to_first_chunk") < 60
    assert about_call.pop("gen_ai.response.id", "none is one, too")
    assert about_call == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai-compat",
        "gen_ai.request.model": "fake-model",
        "gen_ai.request.stream": True,
        "gen_ai.conversation.id": chat,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 21,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "127.0.0.1",
    }
    assert tool.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "real__greet",
        "gen_ai.tool.call.id": "call-of-traces",
        "gen_ai.tool.type": "function",
    }


def test_a_failed_call_is_an_error_in_the_trace_without_what_the_provider_said(
    client: Client, web: Web, provider: ScriptedProvider, collector: Collector
) -> None:
    words = "refused in the traces"
    said = f"the key {PROVIDER_KEY} is not known"
    provider.on(words, faults.http_error(401, {"error": {"message": said}}))
    chat, _ = asked(client, web, words)
    with client.follow(chat) as follower:
        follower.wait_for_status("error", seconds=120)
    turn = collector.turn_of(chat)
    call = only(collector.wait_for(turn.trace, MODEL), MODEL)
    assert (turn.is_error, turn.attributes["error.type"]) == (True, "auth")
    assert (call.is_error, call.attributes["error.type"]) == (True, "auth")
    assert call.attributes["http.response.status_code"] == 401


def test_each_try_is_a_span_and_the_turn_is_well_when_one_succeeds(
    client: Client, web: Web, provider: ScriptedProvider, collector: Collector
) -> None:
    words = "overloaded in the traces"
    busy = faults.http_error(503, {"error": {"message": "busy"}})
    provider.on(words, in_turn(busy, answer("after all")))
    chat, _ = asked(client, web, words)
    with client.follow(chat) as follower:
        follower.wait_for_answers(1)
    turn = collector.turn_of(chat)
    tries = [span for span in collector.of_trace(turn.trace) if span.name == MODEL]
    assert [each.is_error for each in tries] == [True, False]
    assert not turn.is_error


def test_a_turn_that_is_stopped_says_so_and_is_no_error(
    client: Client, web: Web, provider: ScriptedProvider, collector: Collector, gate: Any
) -> None:
    words = "stopped in the traces"
    open_answer = gate(words, "begun ")
    chat, _ = asked(client, web, words)
    open_answer.wait_for_streams(1)
    client.call("POST", f"/api/experimental/chats/{chat}/interrupt", expect=200)
    turn = collector.turn_of(chat)
    assert turn.attributes["chatd.turn.stopped_by"] == "interrupted"
    assert not turn.is_error


def test_a_turn_from_the_queue_goes_on_in_the_trace_of_the_one_before(
    client: Client, web: Web, provider: ScriptedProvider, collector: Collector, gate: Any
) -> None:
    first = gate("held in the traces", "begun ")
    trace = "4bf92f3577b34da6a3ce929d0e0e4738"
    named = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    chat, _ = asked(client, web, "held in the traces", **named)
    first.wait_for_streams(1)
    body = {"content": [text_part("queued in the traces")], "busy_behavior": "queue"}
    client.call("POST", f"/api/experimental/chats/{chat}/messages", body, expect=200)
    first.end("ended")
    with client.follow(chat) as follower:
        follower.wait_for_answers(2)

    def turns() -> list[Seen]:
        return [span for span in collector.of_trace(trace) if span.name == TURN]

    wait_until(lambda: len(turns()) == 2, 60, "two turns in one trace")
    before, after = turns()
    assert after.parent == before.id
    assert before.attributes["chatd.turn.status"] == "pending"


def test_a_route_is_shown_by_its_pattern_and_probes_not_at_all(
    client: Client, web: Web, collector: Collector
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4737"
    named = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    for path in ("/healthz", "/api/experimental/chats/a-secret-place", "/no/such/secret?a-secret"):
        requests.get(web.url + path, headers=named, timeout=30)
    requests.get(f"{web.url}/login?next=a-secret", headers=named, timeout=30)
    spans = collector.wait_for(trace, "GET /login", "GET")
    assert all("a-secret" not in span.raw and "healthz" not in span.raw for span in spans)
    assert len(spans) == 3


def test_a_traceparent_that_cannot_be_read_begins_a_new_trace(
    client: Client, web: Web, collector: Collector
) -> None:
    named = {"traceparent": "00-nonsense-01", "X-Request-ID": "asked-with-nonsense"}
    requests.get(f"{web.url}/login", headers=named, timeout=30)

    def found() -> list[Seen]:
        about = "chatd.correlation_id"
        return [
            s for s in list(collector.spans) if s.attributes.get(about) == named["X-Request-ID"]
        ]

    wait_until(lambda: bool(found()), 60, "a span")
    (span,) = found()
    assert (span.name, span.parent) == ("GET /login", "")


def test_what_is_left_is_sent_before_a_process_ends(
    any_server_url: str, provider: ScriptedProvider, collector: Collector
) -> None:
    words = "the last words in the traces"
    provider.on(words, answer("a last answer in the traces"))
    with traced(any_server_url, collector, provider, OTEL_BSP_SCHEDULE_DELAY="600000") as product:
        web = next(each for each in product.processes if isinstance(each, Web))
        client = product.client(web)
        chat, _ = asked(client, web, words)
        with client.follow(chat) as follower:
            follower.wait_for_answers(1)
        product.close()
    turn = collector.turn_of(chat, seconds=1)
    assert {POST_CHAT, TURN, MODEL} <= {span.name for span in collector.of_trace(turn.trace)}
    assert client.token.encode() not in collector.bodies


def test_a_collector_that_is_away_keeps_nobody_from_an_answer(provider: ScriptedProvider) -> None:
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    with embedded(**away, OTEL_BSP_SCHEDULE_DELAY="50", OTEL_EXPORTER_OTLP_TIMEOUT="1") as product:
        web = product.up()
        product.add_models({"base_url": provider.base_url, "is_default": True})
        client = product.client(web)
        provider.on("answered all the same", answer("all the same"))
        chat, _ = asked(client, web, "answered all the same")
        with client.follow(chat) as follower:
            follower.wait_for_answers(1)
        told = "trace_exporter"
        wait_until(lambda: told in web.log, 60, "a line that says so")
        lines = [line for line in web.log.splitlines() if told in line]
        assert "Traceback" not in web.log
        assert len(lines) < 10
