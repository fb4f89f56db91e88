"""GET /chats/{chat}/debug/runs and /debug/runs/{run}: what a chat asked of models."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from chatd.chats.debug import MAX_RUNS
from chatd.chats.debug_models import DebugOperation, DebugRunKind, DebugStatus
from chatd.chats.models import Chat
from chatd.core.clock import now, rfc3339
from tests.api.client import NOT_FOUND, Api
from tests.support.debug import debug_run, debug_step

SUMMARY_ALWAYS = {"id", "chat_id", "kind", "status", "summary", "started_at", "updated_at"}
STEP_ALWAYS = {
    "id",
    "run_id",
    "chat_id",
    "step_number",
    "operation",
    "status",
    "normalized_request",
    "attempts",
    "metadata",
    "started_at",
    "updated_at",
}


@pytest.fixture
def chat(chats) -> Chat:
    return chats.waiting()


def runs(api: Api, chat: Chat) -> list[dict]:
    answer = api.get(f"/chats/{chat.pk}/debug/runs")
    assert answer.status == 200
    return answer.body


def run(api: Api, chat: Chat, run_id: UUID) -> dict:
    answer = api.get(f"/chats/{chat.pk}/debug/runs/{run_id}")
    assert answer.status == 200
    return answer.body


def test_without_runs_there_is_an_empty_list(alice, chat):
    assert runs(alice, chat) == []


def test_of_a_bare_run_and_step_only_what_is_there_is_shown(alice, chat):
    row = debug_run(chat)
    step = debug_step(row)
    (summary,) = runs(alice, chat)
    assert summary == {
        "id": str(row.pk),
        "chat_id": str(chat.pk),
        "kind": "chat_turn",
        "status": "completed",
        "summary": {},
        "started_at": rfc3339(row.started_at),
        "updated_at": rfc3339(row.updated_at),
    }
    assert set(summary) == SUMMARY_ALWAYS
    (shown,) = run(alice, chat, row.pk)["steps"]
    assert set(shown) == STEP_ALWAYS
    assert shown == {
        "id": str(step.pk),
        "run_id": str(row.pk),
        "chat_id": str(chat.pk),
        "step_number": 1,
        "operation": "stream",
        "status": "completed",
        "normalized_request": {},
        "attempts": [],
        "metadata": {},
        "started_at": rfc3339(step.started_at),
        "updated_at": rfc3339(step.updated_at),
    }
    assert run(alice, chat, row.pk) == summary | {"steps": [shown]}


def test_everything_known_is_shown_as_it_was_stored(alice, chat):
    at = now()
    about = {"trigger_message_id": 7, "history_tip_message_id": 9}
    ids = {name: uuid4() for name in ("root_chat_id", "parent_chat_id", "model_config_id")}
    texts = {"provider": "openai", "model": "gpt"}
    summary = {"first_message": "a\x00b", "step_count": 1, "has_error": False}
    row = debug_run(chat, **about, **ids, **texts, summary=summary, finished_at=at)
    seen = {"history_tip_message_id": 9, "assistant_message_id": 10}
    bodies = {
        "normalized_request": {"z": 1.0, "a": [None, {}]},
        "normalized_response": {"text": "é\x00"},
        "usage": {"input_tokens": 2**53},
        "attempts": [{"number": 1, "status": "error"}, {"number": 2, "status": "completed"}],
        "error": {"message": "late"},
        "metadata": {"chain": "x"},
    }
    debug_step(row, **seen, **bodies, finished_at=at)
    body = run(alice, chat, row.pk)
    (step,) = body.pop("steps")
    expected = about | texts | {"summary": summary, "finished_at": rfc3339(at)}
    expected |= {name: str(value) for name, value in ids.items()}
    assert {name: body[name] for name in expected} == expected
    assert set(body) == SUMMARY_ALWAYS | set(expected)
    expected = seen | bodies | {"finished_at": rfc3339(at)}
    assert {name: step[name] for name in expected} == expected
    assert set(step) == STEP_ALWAYS | set(expected)
    assert list(step["normalized_request"]) == ["z", "a"]
    assert runs(alice, chat) == [
        {name: value for name, value in body.items() if name not in {*about, *ids}}
    ]


def test_what_is_empty_may_be_left_out(alice, chat):
    row = debug_run(chat, provider="", model="", trigger_message_id=0, history_tip_message_id=0)
    debug_step(row, normalized_response={}, usage={}, error={}, assistant_message_id=0)
    body = run(alice, chat, row.pk)
    assert set(body) == SUMMARY_ALWAYS | {"steps"}
    assert set(body["steps"][0]) == STEP_ALWAYS


@pytest.mark.parametrize("kind", DebugRunKind)
@pytest.mark.parametrize("status", DebugStatus)
def test_every_kind_and_status_can_be_stored_and_read(alice, chat, kind, status):
    row = debug_run(chat, kind=kind, status=status)
    for number, operation in enumerate(DebugOperation):
        debug_step(row, number, status=status, operation=operation)
    body = run(alice, chat, row.pk)
    assert (body["kind"], body["status"]) == (kind, status)
    assert [(step["operation"], step["status"]) for step in body["steps"]] == [
        ("stream", status),
        ("generate", status),
    ]


def test_runs_come_the_latest_start_first_and_then_by_id(alice, chat):
    at = now()
    starts = [at, at - timedelta(seconds=2), at - timedelta(seconds=1), at]
    rows = [debug_run(chat, started_at=start) for start in starts]
    rows.sort(key=lambda row: (row.started_at, row.pk), reverse=True)
    assert [body["id"] for body in runs(alice, chat)] == [str(row.pk) for row in rows]


def test_the_list_ends_at_a_hundred_but_older_runs_can_be_read(alice, chat):
    at = now()
    rows = [debug_run(chat, started_at=at - timedelta(seconds=n)) for n in range(MAX_RUNS + 1)]
    assert [body["id"] for body in runs(alice, chat)] == [str(row.pk) for row in rows[:100]]
    assert run(alice, chat, rows[-1].pk)["id"] == str(rows[-1].pk)


def test_steps_come_in_order_of_their_numbers(alice, chat):
    row = debug_run(chat)
    for number in (10, 2, 1):
        debug_step(row, number)
    steps = run(alice, chat, row.pk)["steps"]
    assert [step["step_number"] for step in steps] == [1, 2, 10]


@pytest.mark.parametrize("bad", ["x", "1", "a1a1a1a1-0000-4000-8000-00000000000g", "%7B%7D"])
def test_a_bad_run_id_is_told(alice, chat, bad):
    answer = alice.get(f"/chats/{chat.pk}/debug/runs/{bad}")
    assert (answer.status, answer.message) == (400, "Invalid debug run ID.")


def test_a_run_id_may_be_written_in_upper_case(alice, chat):
    row = debug_run(chat)
    assert alice.get(f"/chats/{chat.pk}/debug/runs/{str(row.pk).upper()}").status == 200


def test_a_chat_that_may_not_be_read_hides_even_a_bad_run_id(carol, chat):
    answer = carol.get(f"/chats/{chat.pk}/debug/runs/x")
    assert (answer.status, answer.body) == (404, NOT_FOUND)


def test_an_unknown_run_and_one_of_another_chat_do_not_exist(alice, chat, chats):
    other = chats.waiting()
    row = debug_run(other)
    for run_id in (uuid4(), row.pk):
        answer = alice.get(f"/chats/{chat.pk}/debug/runs/{run_id}")
        assert (answer.status, answer.body) == (404, NOT_FOUND)
    assert runs(alice, chat) == []
    assert [body["id"] for body in runs(alice, other)] == [str(row.pk)]


def test_a_reader_sees_the_runs_of_the_chat_and_its_sub_chats(alice, carol, chats, chat, cast):
    child = chats.child_of(chat)
    body = {"user_roles": {str(cast.carol.pk): "read"}}
    assert alice.patch(f"/chats/{chat.pk}/acl", body).status == 204
    for one in (chat, child):
        row = debug_run(one)
        debug_step(row)
        assert runs(carol, one) == runs(alice, one)
        assert run(carol, one, row.pk) == run(alice, one, row.pk)


def test_archiving_through_the_api_leaves_no_runs(alice, chat):
    debug_run(chat)
    assert alice.patch(f"/chats/{chat.pk}", {"archived": True}).status == 204
    assert runs(alice, chat) == []


@pytest.mark.parametrize("count", [1, 10])
def test_the_cost_does_not_grow_with_runs_and_steps(alice, chat, count, django_assert_num_queries):
    rows = [debug_run(chat) for _ in range(count)]
    for number in range(count):
        debug_step(rows[0], number)
    runs(alice, chat)  # the first use of a token is recorded
    with django_assert_num_queries(4):
        assert len(runs(alice, chat)) == count
    with django_assert_num_queries(5):
        assert len(run(alice, chat, rows[0].pk)["steps"]) == count
