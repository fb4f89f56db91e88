"""Recording of model calls: when it is done, that it can hurt no turn, what lost ones become."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext

from chatd.chats import debug_writes
from chatd.chats.debug_models import (
    ChatDebugRun,
    ChatDebugStep,
    DebugOperation,
    DebugRunKind,
    DebugStatus,
)
from chatd.chats.debug_writes import (
    MAX_LABEL,
    end_run,
    interrupt_stale,
    label,
    store_step,
    touch,
    update_step,
)
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chattest.openai import OpenAIHandler, OpenAIServer
from chatd.core.clock import now
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Answer,
    FileBlock,
    FinishReason,
    Provider,
    Request,
    SystemMessage,
    TextBlock,
    Usage,
    UserMessage,
)
from chatd.preferences import debug_logging
from chatd.preferences.registry import DEBUG_LOGGING_ALLOWED, PERSONAL_DEBUG_LOGGING
from chatd.providers.selectors import ModelCall, resolve_model_call
from chatd.tools import registry
from chatd.tools.registry import TurnContext
from chatd.turns import debug_shapes, debug_thread, debugging, runner, sweep
from chatd.turns.debug_shapes import request_body
from chatd.turns.debug_thread import DebugThread
from chatd.turns.debugging import NOT_RECORDED, recorded_run
from tests.conftest import Cast
from tests.e2e.provider import answer, calls, in_turn
from tests.support.debug import debug_run, debug_step
from tests.support.people import pending_chat
from tests.support.settings import put_personal, put_site
from tests.turns.test_tools_of_turns import Bench

pytestmark = pytest.mark.django_db(transaction=True)

REQUEST = Request(model="m", messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),))
TARGET = Provider(kind="openai-compat", base_url="http://h", api_key="recorder-canary")


@pytest.fixture
def thread(monkeypatch: pytest.MonkeyPatch) -> DebugThread:
    """A writing thread of the test's own, not started yet."""
    made = DebugThread()
    monkeypatch.setattr(debugging, "debug_thread", made)
    return made


@pytest.fixture
def script() -> list[OpenAIHandler]:
    return []


@pytest.fixture
def bench(
    cast: Cast,
    script: list[OpenAIHandler],
    thread: DebugThread,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    handlers: list[OpenAIHandler] = []

    def handler(request: Any) -> Any:
        handlers[:] = handlers or [in_turn(*script)]
        return handlers[0](request)

    with OpenAIServer(handler) as server:
        made = Bench(cast, server)

        def source(context: TurnContext) -> Any:
            return _opened(made)

        monkeypatch.setattr(registry, "SOURCES", (source,))
        yield made


class _opened:  # noqa: N801 - an async context manager of the tools of a bench
    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def __aenter__(self) -> Any:
        return self._bench.tools

    async def __aexit__(self, *raised: object) -> None:
        return None


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(debug_logging.env, force_debug_logging=True)
    monkeypatch.setattr(debug_logging, "env", changed)


@pytest.fixture
def chat(cast: Cast, model: Any) -> Chat:
    return pending_chat(cast.alice, cast.organization, model)


def call_of(chat: Chat) -> ModelCall:
    return resolve_model_call(chat.last_model_config_id, user_id=chat.owner_id)


def recorded(chat: Chat, *, enabled: bool = True) -> Any:
    return recorded_run(chat, call_of(chat), DebugRunKind.QUICKGEN, enabled=enabled)


def settled(thread: DebugThread) -> None:
    assert thread.settle(20)


# when


@pytest.mark.parametrize(("allowed", "chosen"), [("", ""), ("true", ""), ("", "true")])
def test_nothing_is_recorded_while_it_is_off(
    bench: Bench, script: list[OpenAIHandler], thread: DebugThread, allowed: str, chosen: str
) -> None:
    put_site(DEBUG_LOGGING_ALLOWED, allowed)
    put_personal(bench.cast.alice, PERSONAL_DEBUG_LOGGING, chosen)
    script.append(answer("fine"))
    assert bench.turn(bench.chat()).status == Status.WAITING
    assert thread._thread is None, "nothing was handed over"
    assert not ChatDebugRun.objects.exists()


def test_while_it_is_off_a_turn_reads_no_more_than_before(chat: Chat) -> None:
    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert not runner._set_up(chat).is_recorded
        return [query["sql"] for query in captured]

    off = queries()
    assert not any("sitesetting" in sql for sql in off)
    assert sum("usersetting" in sql for sql in off) == 1
    put_personal(chat.owner, PERSONAL_DEBUG_LOGGING, "true")
    assert len(queries()) == len(off) + 1, "what the deployment says"


def test_a_run_that_is_not_enabled_observes_nothing(chat: Chat, thread: DebugThread) -> None:
    with recorded(chat, enabled=False) as run, run.beside(DebugRunKind.COMPACTION) as inner:
        for each in (run, inner, NOT_RECORDED):
            with each.step(REQUEST, TARGET, DebugOperation.GENERATE) as step:
                step.retries(LLMError(kind=ErrorKind.TIMEOUT, message="x"), 1)
                assert step.observer is None
    assert thread._thread is None


def test_who_opted_in_where_it_is_allowed_is_recorded(
    bench: Bench, script: list[OpenAIHandler], thread: DebugThread
) -> None:
    put_site(DEBUG_LOGGING_ALLOWED, "true")
    put_personal(bench.cast.alice, PERSONAL_DEBUG_LOGGING, "true")
    script += [calls(("a", "look", "{}")), answer("all done")]
    bench.tool("look")
    chat = bench.turn(bench.chat())
    settled(thread)
    run = ChatDebugRun.objects.get()
    rows = ChatMessage.objects.filter(chat=chat).order_by("pk").values_list("pk", "role")
    asked, result, *_ = [pk for pk, role in rows if role in (Role.USER, Role.TOOL)]
    said = [pk for pk, role in rows if role == Role.ASSISTANT]
    assert (run.chat_id, run.status, run.trigger_message_id) == (chat.pk, "completed", asked)
    assert run.finished_at
    assert run.summary["step_count"] == 2
    assert run.summary["total_tokens"] == 56
    steps = list(run.steps.all())
    assert [step.step_number for step in steps] == [1, 2]
    assert [step.history_tip_message_id for step in steps] == [asked, result]
    assert [step.assistant_message_id for step in steps] == said
    assert all(len(step.attempts) == 1 and step.finished_at for step in steps)


# nothing hurts a turn


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("broken", ["store_run", "store_step", "update_step", "end_run"])
def test_a_database_that_fails_the_recorder_does_not_fail_the_turn(
    bench: Bench,
    script: list[OpenAIHandler],
    thread: DebugThread,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str,
) -> None:
    def fail(*args: Any, **columns: Any) -> None:
        raise OperationalError("away, with recorder-canary")

    monkeypatch.setattr(debugging, broken, fail)
    script.append(answer("fine"))
    assert bench.turn(bench.chat()).status == Status.WAITING
    settled(thread)
    assert "canary" not in caplog.text
    assert ChatDebugRun.objects.exists() == (broken != "store_run")
    assert ChatDebugStep.objects.exists() == (broken in ("update_step", "end_run"))


@pytest.mark.usefixtures("forced")
def test_a_turn_waits_for_no_write(
    bench: Bench, script: list[OpenAIHandler], thread: DebugThread
) -> None:
    released = threading.Event()
    thread.hand_over(partial(released.wait, 30))
    script.append(answer("fine"))
    chat = bench.turn(bench.chat())
    assert chat.status == Status.WAITING
    assert not ChatDebugRun.objects.exists()
    released.set()
    settled(thread)
    assert ChatDebugRun.objects.get().status == DebugStatus.COMPLETED


def test_when_too_many_writes_wait_the_next_is_dropped() -> None:
    begun, released = threading.Event(), threading.Event()
    thread = DebugThread(most_waiting=1)
    assert thread.hand_over(lambda: begun.set() or released.wait(30))
    assert begun.wait(20)
    assert thread.hand_over(lambda: None)
    assert not thread.hand_over(lambda: None)
    assert not thread.settle(0)
    released.set()


def test_a_write_that_fails_does_not_keep_the_next_one() -> None:
    thread, done = DebugThread(), threading.Event()
    thread.hand_over(lambda: 1 / 0)
    thread.hand_over(done.set)
    assert thread.settle(20)
    assert done.is_set()


def test_a_write_that_finds_the_row_locked_gives_up(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_writes, "WRITE_SECONDS", 1)
    monkeypatch.setattr(debug_thread, "WRITE_SECONDS", 1)
    run = debug_run(chat, status=DebugStatus.IN_PROGRESS)
    thread, ended = DebugThread(), []
    with transaction.atomic():
        ChatDebugRun.objects.select_for_update().get(pk=run.pk)
        thread.hand_over(lambda: ended.append(end_run(run.pk, DebugStatus.COMPLETED, {})))
        assert thread.settle(60)
    assert ended == []
    thread.hand_over(lambda: ended.append(end_run(run.pk, DebugStatus.COMPLETED, {})))
    assert thread.settle(60)
    assert ended == [True]


def test_runs_that_go_on_are_marked_as_alive(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_thread, "TOUCH_SECONDS", 0.0)
    old = now() - timedelta(hours=1)
    going = debug_run(chat, status=DebugStatus.IN_PROGRESS, updated_at=old)
    step = debug_step(going, status=DebugStatus.IN_PROGRESS, updated_at=old)
    other = debug_run(chat, status=DebugStatus.IN_PROGRESS, updated_at=old)
    thread = DebugThread()
    thread.keep_alive(going.pk)
    thread.hand_over(lambda: None)
    assert thread.settle(20)
    assert thread.settle(20), "the touch came before"
    thread.let_go(going.pk)
    for row in (going, step, other):
        row.refresh_from_db()
    assert min(going.updated_at, step.updated_at) > old
    assert other.updated_at == old


# what is recorded


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (LLMError(kind=ErrorKind.AUTH, message="No."), "error"),
        (RuntimeError("recorder-canary"), "error"),
        (KeyboardInterrupt(), "error"),
        (asyncio.CancelledError(), "interrupted"),
    ],
)
def test_how_a_run_ends(
    chat: Chat, thread: DebugThread, raised: BaseException, status: str
) -> None:
    with (
        pytest.raises(type(raised)),
        recorded(chat) as run,
        run.step(REQUEST, TARGET, DebugOperation.GENERATE),
    ):
        raise raised
    settled(thread)
    stored = ChatDebugRun.objects.get()
    step = stored.steps.get()
    assert (stored.status, step.status) == (status, status)
    assert stored.summary["has_error"] == (status == "error")
    assert (step.error is not None) == (status == "error")
    assert "canary" not in str(step.error)


def test_an_answer_and_its_tokens_are_kept_without_the_key(chat: Chat, thread: DebugThread) -> None:
    usage = Usage(input=3, output=2, total=5, cache_read=1)
    said = Answer(text="The recorder-canary", reason=FinishReason.STOP, usage=usage)
    with recorded(chat) as run:
        for _ in range(2):
            with run.step(REQUEST, TARGET, DebugOperation.GENERATE) as step:
                step.answered(said)
    settled(thread)
    stored = ChatDebugRun.objects.get()
    assert stored.kind == "quickgen"
    tokens = ("input", "output", "cache_read")
    assert [stored.summary[f"total_{kind}_tokens"] for kind in tokens] == [6, 4, 2]
    assert stored.summary["total_tokens"] == 10
    assert [step.step_number for step in stored.steps.all()] == [1, 2]
    for step in stored.steps.all():
        assert step.normalized_response["content"] == [{"type": "text", "text": "The [REDACTED]"}]


def test_a_request_tells_of_files_what_they_are_and_keeps_the_newest_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(debug_shapes, "MAX_TEXT", 20)
    monkeypatch.setattr(debug_shapes, "MAX_MESSAGES_TEXT", 400)
    file = FileBlock(media_type="image/png", data=b"canary", name="a.png")
    messages = (
        *(SystemMessage(text=f"{n} " + "x" * 100) for n in range(20)),
        UserMessage(blocks=(file,)),
    )
    body = request_body(replace(REQUEST, messages=messages, temperature=0.0))
    kept = len(body["messages"])
    assert 1 < kept < 10
    assert body["messages_left_out"] == 21 - kept
    assert body["messages"][-1]["content"] == [
        {"type": "file", "media_type": "image/png", "bytes": 6, "name": "a.png"}
    ]
    assert body["messages"][-2]["content"][0]["text"] == "19 " + "x" * 17 + "[CUT]"
    assert body["temperature"] == 0.0


def test_a_label_is_one_line_of_at_most_so_many_characters() -> None:
    assert label(" a\n b\t") == "a b"
    assert label("x" * MAX_LABEL) == "x" * MAX_LABEL
    assert label("x" * 300) == "x" * (MAX_LABEL - 1) + "…"


@pytest.mark.parametrize(
    "change", [{"archived": True, "archived_at": now()}, {"refresh_version": 99}]
)
def test_what_was_archived_or_cut_meanwhile_is_not_recorded(
    chat: Chat, thread: DebugThread, change: dict[str, Any]
) -> None:
    columns = {"status": Status.WAITING, "snapshot_version": 99, "history_version": 99, **change}
    stale = Chat.objects.get(pk=chat.pk)
    Chat.objects.filter(pk=chat.pk).update(**columns)
    with recorded(stale) as run, run.step(REQUEST, TARGET, DebugOperation.STREAM):
        pass
    settled(thread)
    assert not ChatDebugRun.objects.exists()
    assert not ChatDebugStep.objects.exists()


def test_what_was_deleted_on_the_way_stays_deleted(chat: Chat, thread: DebugThread) -> None:
    with recorded(chat) as run:
        settled(thread)
        with run.step(REQUEST, TARGET, DebugOperation.STREAM):
            settled(thread)
            ChatDebugRun.objects.all().delete()
    settled(thread)
    assert not ChatDebugRun.objects.exists()
    assert not ChatDebugStep.objects.exists()


# lost ones


def test_runs_that_nobody_writes_to_are_ended_by_the_sweep(chat: Chat) -> None:
    going = {"status": DebugStatus.IN_PROGRESS}
    limit = timedelta(seconds=sweep.DEBUG_STALE_SECONDS)
    lost = debug_run(chat, updated_at=now() - limit - timedelta(seconds=5), **going)
    step = debug_step(lost, **going)
    alive = debug_run(chat, updated_at=now() - limit + timedelta(seconds=60), **going)
    done = debug_run(chat, updated_at=now() - 2 * limit, finished_at=now() - 2 * limit)
    Chat.objects.filter(pk=chat.pk).update(status=Status.WAITING)
    sweep.sweep()
    for row in (lost, step, alive, done):
        row.refresh_from_db()
    assert (lost.status, step.status) == ("interrupted", "interrupted")
    assert lost.finished_at
    assert step.finished_at
    assert (alive.status, alive.finished_at) == ("in_progress", None)
    assert done.status == "completed"
    assert not end_run(lost.pk, DebugStatus.COMPLETED, {}), "it has ended"
    assert not update_step(step.pk, lost.pk, status=DebugStatus.COMPLETED)
    columns = {"operation": DebugOperation.STREAM, "history_version": 1, "started_at": now()}
    assert not store_step(uuid4(), lost.pk, **columns)
    lost.refresh_from_db()
    assert lost.status == "interrupted"


def test_at_most_so_many_are_ended_at_once_the_oldest_first(chat: Chat) -> None:
    old = [now() - timedelta(hours=hours) for hours in (1, 3, 2)]
    runs = [debug_run(chat, status=DebugStatus.IN_PROGRESS, updated_at=at) for at in old]
    assert interrupt_stale(now(), at_most=2) == 2
    [left] = ChatDebugRun.objects.filter(finished_at=None)
    assert left == runs[0]
    touch([run.pk for run in runs])
    assert interrupt_stale(now() - timedelta(minutes=1), at_most=2) == 0


def test_a_sweep_that_cannot_end_them_goes_on(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **limits: Any) -> int:
        raise OperationalError("away")

    monkeypatch.setattr(sweep, "interrupt_stale", fail)
    sweep.sweep()
