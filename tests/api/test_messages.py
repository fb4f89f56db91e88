"""Messages and the queue: pages, sending, editing, promoting, interrupting."""

import pytest

from chatd.chats import runs, states
from chatd.chats.models import Chat, ChatMessage, ChatQueuedMessage, Role, Status, Visibility
from chatd.chats.new_messages import NewMessage, StepUsage
from chatd.chats.partial import Partial
from chatd.providers.model_configs import delete_model_config, save_model_config
from chatd.providers.models import ModelConfig
from tests.api.client import (
    NIL,
    NOT_FOUND,
    Api,
    Chats,
    assistant,
    calls,
    fresh,
    queue,
    rows,
    start,
    text_part,
)
from tests.api.test_chats_create import BAD_PARTS, UNKNOWN
from tests.support.contract import CHAT_ALWAYS
from tests.support.people import text

MESSAGE = {"id", "chat_id", "created_at", "role", "content"}


@pytest.fixture
def other_model(model: ModelConfig) -> ModelConfig:
    return save_model_config(ModelConfig(ai_provider=model.ai_provider, model="other"))


def content(words: str = "again") -> dict:
    return {"content": [text_part(words)]}


def messages(chat: Chat) -> str:
    return f"/chats/{chat.pk}/messages"


def first_message(chat: Chat) -> ChatMessage:
    return chat.messages.filter(role=Role.USER).earliest("id")


def shown(api: Api, chat: Chat, query: str = "") -> dict:
    answer = api.get(f"{messages(chat)}?{query}")
    assert answer.status == 200
    assert set(answer.body) == {"messages", "queued_messages", "has_more"}
    return answer.body


def refused(api: Api, method: str, path: str, body, status: int = 400, **options):
    before = rows()
    answer = api.call(method, path, body, **options)
    assert answer.status == status
    assert rows() == before
    return answer


# GET


def test_messages_show_exactly_what_the_contract_names(alice, cast, chats, model):
    chat = chats.pending()
    result = {"type": "tool-result", "tool_call_id": "c", "result": {"error": "x"}}
    call = {"type": "tool-call", "tool_call_id": "c", "provider_metadata": {"secret": 1}}
    runs.finish(
        start(chat),
        [
            NewMessage(
                role=Role.ASSISTANT,
                content=[call],
                model_config_id=model.pk,
                usage=StepUsage(input_tokens=7, output_tokens=0, total_tokens=7),
            ),
            NewMessage(role=Role.TOOL, content=[result]),
            NewMessage(role=Role.ASSISTANT, content=text("hidden"), visibility=Visibility.MODEL),
        ],
    )
    body = shown(alice, chat)
    assert (body["queued_messages"], body["has_more"]) == ([], False)
    tool, answer, question = body["messages"]
    assert set(question) == MESSAGE | {"created_by", "model_config_id"}
    assert question["created_by"] == str(cast.alice.pk)
    assert question["content"] == [{"type": "text", "text": "hello"}]
    assert set(answer) == MESSAGE | {"model_config_id", "usage"}
    assert answer["content"] == [{"type": "tool-call", "tool_call_id": "c"}]
    assert answer["usage"] == {"input_tokens": 7, "total_tokens": 7}
    assert set(tool) == MESSAGE
    assert tool["role"] == "tool"
    assert question["id"] < answer["id"] < tool["id"]


@pytest.fixture
def long_chat(chats: Chats) -> tuple[Chat, list[int]]:
    """A chat with 203 visible messages and their ids, oldest first."""
    chat = chats.pending()
    runs.finish(start(chat), [assistant() for _ in range(202)])
    visible = chat.messages.exclude(visibility=Visibility.MODEL).order_by("id")
    return fresh(chat), list(visible.values_list("pk", flat=True))


WINDOWS = [
    ("", slice(153, 203), True, True),
    ("limit=", slice(153, 203), True, True),
    ("limit=2", slice(201, 203), True, True),
    ("limit=200", slice(3, 203), True, True),
    ("limit=200&before_id={203}", slice(3, 203), True, True),
    ("before_id={3}", slice(0, 3), True, False),
    ("before_id={3}&limit=3", slice(0, 3), True, False),
    ("before_id={3}&limit=2", slice(1, 3), True, True),
    ("after_id={199}", slice(200, 203), False, False),
    ("after_id={199}&limit=2", slice(200, 202), False, True),
    ("after_id={199}&limit=3", slice(200, 203), False, False),
    ("after_id={202}", slice(0, 0), False, False),
    ("after_id=9223372036854775807", slice(0, 0), False, False),
    ("after_id={10}&before_id={14}", slice(11, 14), True, False),
    ("after_id={10}&before_id={14}&limit=2", slice(12, 14), True, True),
    ("after_id=0&before_id=0", slice(153, 203), True, True),
    ("after_id=&before_id={1}", slice(0, 1), True, False),
    ("before_id=9223372036854775807&limit=1", slice(202, 203), True, True),
    ("unknown=x", slice(153, 203), True, True),
]


@pytest.mark.parametrize(("query", "window", "descending", "has_more"), WINDOWS)
def test_a_window_of_messages(alice, long_chat, query, window, descending, has_more):
    chat, ids = long_chat
    cursors = {str(index): ids[index] if index < 203 else ids[-1] + 1 for index in range(204)}
    for name, cursor in cursors.items():
        query = query.replace(f"{{{name}}}", str(cursor))
    expected = ids[window][::-1] if descending else ids[window]
    body = shown(alice, chat, query)
    assert [message["id"] for message in body["messages"]] == expected
    assert body["has_more"] is has_more


def test_the_queue_is_shown_only_without_a_cursor(alice, chats):
    chat = chats.running()
    ids = [queue(chat, f"number {index}").pk for index in range(3)]
    first = first_message(chat).pk
    for query in ("", "before_id=0&after_id=0", "limit=1"):
        assert [entry["id"] for entry in shown(alice, chat, query)["queued_messages"]] == ids
    for query in ("before_id=1", f"after_id={first}"):
        assert shown(alice, chat, query)["queued_messages"] == []


def test_a_queued_message_has_its_fields_and_no_other(alice, chats, model):
    chat = chats.running()
    queued = queue(chat, "wait")
    (entry,) = shown(alice, chat)["queued_messages"]
    assert entry.pop("created_at").endswith("Z")
    assert entry == {
        "id": queued.pk,
        "chat_id": str(chat.pk),
        "model_config_id": str(model.pk),
        "content": [{"type": "text", "text": "wait"}],
    }


@pytest.mark.parametrize("name", ["before_id", "after_id", "limit"])
@pytest.mark.parametrize(
    "value", ["-1", "x", "1.5", "%00", "9223372036854775808", "9" * 5000, "%ff", "\u0661"]
)
def test_a_bad_number_is_named(alice, chats, name, value):
    answer = alice.get(f"{messages(chats.pending())}?{name}={value}")
    assert (answer.status, answer.message) == (400, "Query parameters have invalid values.")
    assert [entry["field"] for entry in answer.body["validations"]] == [name]


@pytest.mark.parametrize("limit", ["0", "201", "9223372036854775807"])
def test_a_limit_out_of_range_is_refused(alice, chats, limit):
    answer = alice.get(f"{messages(chats.pending())}?limit={limit}&after_id=5&before_id=5")
    assert (answer.status, answer.message) == (400, "Invalid limit parameter (1-200).")


@pytest.mark.parametrize("query", ["after_id=5&before_id=5", "after_id=6&before_id=5"])
def test_crossed_cursors_are_refused(alice, chats, query):
    answer = alice.get(f"{messages(chats.pending())}?{query}")
    assert (answer.status, answer.message) == (400, "after_id must be less than before_id.")


def test_messages_of_another_chat_are_never_shown(alice, chats):
    first, second = chats.pending(), chats.pending()
    assert {m["chat_id"] for m in shown(alice, first)["messages"]} == {str(first.pk)}
    assert {m["chat_id"] for m in shown(alice, second)["messages"]} == {str(second.pk)}


# POST


@pytest.mark.parametrize("status", [Status.WAITING, Status.ERROR])
def test_an_idle_chat_takes_a_message_at_once(alice, cast, chats, model, status):
    chat = chats.in_status(status)
    answer = alice.post(messages(chat), content("  go on "))
    assert (answer.status, set(answer.body)) == (200, {"queued", "message"})
    assert answer.body["queued"] is False
    assert set(answer.body["message"]) == MESSAGE | {"created_by", "model_config_id"}
    assert answer.body["message"]["content"] == [{"type": "text", "text": "go on"}]
    assert fresh(chat).status == Status.PENDING
    assert fresh(chat).last_error is None
    assert shown(alice, chat)["messages"][0] == answer.body["message"]


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.REQUIRES_ACTION])
def test_a_busy_chat_queues(alice, chats, status):
    chat = chats.in_status(status)
    answer = alice.post(messages(chat), content())
    assert (answer.status, set(answer.body)) == (200, {"queued", "queued_message"})
    assert answer.body["queued"] is True
    assert shown(alice, chat)["queued_messages"] == [answer.body["queued_message"]]
    assert fresh(chat).status == status


def test_twenty_messages_wait_and_no_more(alice, chats):
    chat = chats.running()
    for _ in range(20):
        assert alice.post(messages(chat), content()).status == 200
    body = {**content(), "plan_mode": "plan"}
    answer = refused(alice, "POST", messages(chat), body, 429)
    assert answer.body == {
        "message": "Message queue is full.",
        "detail": "Maximum 20 messages can be queued.",
    }
    assert fresh(chat).plan_mode is None


@pytest.mark.parametrize("behavior", ["", "queue", None])
def test_busy_behavior_queue_leaves_the_turn_alone(alice, chats, behavior):
    chat = chats.running()
    answer = alice.post(messages(chat), {**content(), "busy_behavior": behavior})
    assert answer.body["queued"] is True
    assert fresh(chat).status == Status.RUNNING


def test_busy_behavior_interrupt_stops_the_turn_and_takes_the_head(alice, chats):
    chat = chats.running()
    queue(chat, "first in line")
    answer = alice.post(messages(chat), {**content(), "busy_behavior": "interrupt"})
    assert answer.body["queued"] is True
    assert fresh(chat).status == Status.PENDING
    body = shown(alice, chat)
    assert body["messages"][0]["content"] == [{"type": "text", "text": "first in line"}]
    assert len(body["queued_messages"]) == 1


def test_busy_behavior_interrupt_is_a_plain_send_for_an_idle_chat(alice, chats):
    answer = alice.post(messages(chats.waiting()), {**content(), "busy_behavior": "interrupt"})
    assert answer.body["queued"] is False


@pytest.mark.parametrize(
    ("sent", "before", "after"),
    [
        ({}, "plan", "plan"),
        ({"plan_mode": None}, "plan", "plan"),
        ({"plan_mode": ""}, "plan", None),
        ({"plan_mode": "plan"}, None, "plan"),
        ({}, None, None),
    ],
)
@pytest.mark.parametrize("make", [Chats.waiting, Chats.running])
def test_plan_mode_absent_is_no_change_and_empty_clears(alice, chats, make, sent, before, after):
    chat = make(chats, plan_mode=before)
    assert alice.post(messages(chat), {**content(), **sent}).status == 200
    body = alice.get(f"/chats/{chat.pk}").body
    assert body.get("plan_mode") == after


@pytest.mark.parametrize("given", [None, []])
def test_an_empty_list_of_servers_is_accepted(alice, chats, given):
    answer = alice.post(messages(chats.waiting()), {**content(), "mcp_server_ids": given})
    assert answer.status == 200


def test_the_checks_of_a_send_come_in_the_order_of_the_contract(alice, chats, model):
    chat = chats.waiting()
    body = {
        "content": [],
        "mcp_server_ids": [UNKNOWN],
        "plan_mode": "off",
        "busy_behavior": "wait",
        "model_config_id": UNKNOWN,
    }
    refused(alice, "POST", messages(chat), None, raw=b"{")
    steps = [
        ("content", [text_part()], "Content is required.", "Content cannot be empty."),
        (
            "mcp_server_ids",
            [],
            "One or more MCP server IDs are invalid.",
            f"Invalid IDs: {UNKNOWN}",
        ),
        ("plan_mode", "plan", "Invalid plan_mode value.", ""),
        (
            "busy_behavior",
            "queue",
            "Invalid busy_behavior value.",
            'Must be "queue" or "interrupt".',
        ),
        ("model_config_id", str(model.pk), "Invalid model config ID.", ""),
    ]
    for name, repaired, message, detail in steps:
        answer = refused(alice, "POST", messages(chat), body)
        assert (answer.message, answer.detail) == (message, detail)
        assert fresh(chat).plan_mode is None
        body[name] = repaired
    assert alice.post(messages(chat), body).status == 200
    assert fresh(chat).plan_mode == "plan"


@pytest.mark.parametrize(("part", "detail"), BAD_PARTS)
def test_a_bad_part_is_refused_in_a_send_and_an_edit(alice, chats, part, detail):
    chat = chats.waiting()
    body = {"content": [text_part(), part]}
    for method, path in (
        ("POST", messages(chat)),
        ("PATCH", f"{messages(chat)}/{first_message(chat).pk}"),
    ):
        answer = refused(alice, method, path, body)
        assert (answer.message, answer.detail) == ("Invalid input part.", detail)


def test_the_model_of_a_message_becomes_the_model_of_the_chat(alice, chats, other_model):
    chat = chats.waiting()
    body = {**content(), "model_config_id": str(other_model.pk)}
    answer = alice.post(messages(chat), body)
    assert answer.body["message"]["model_config_id"] == str(other_model.pk)
    assert alice.get(f"/chats/{chat.pk}").body["last_model_config_id"] == str(other_model.pk)


def test_a_nil_model_is_unknown(alice, chats):
    body = {**content(), "model_config_id": NIL}
    answer = refused(alice, "POST", messages(chats.waiting()), body)
    assert answer.message == "Invalid model config ID."


def test_without_any_model_left_a_send_says_so(alice, chats, model):
    chat = chats.waiting()
    delete_model_config(model)
    answer = refused(alice, "POST", messages(chat), content(), 500)
    assert answer.message == "No default chat model config is available."


ARCHIVED = [
    ("POST", "/messages", "Cannot send messages to an archived chat."),
    ("PATCH", "/messages/x", "Cannot edit messages in an archived chat."),
    ("POST", "/queue/x/promote", "Cannot promote queued messages in an archived chat."),
    ("POST", "/tool-results", "Cannot submit tool results to an archived chat."),
]


@pytest.mark.parametrize(("method", "path", "message"), ARCHIVED)
def test_an_archived_chat_refuses_before_anything_is_read(alice, chats, method, path, message):
    answer = refused(alice, method, f"/chats/{chats.archived().pk}{path}", None, raw=b"{")
    assert answer.body == {"message": message}


# PATCH


def test_an_edit_replaces_the_message_and_all_that_followed(alice, cast, chats, model):
    chat = chats.running()
    queue(chat)
    old = first_message(chat)
    answer = alice.patch(f"{messages(chat)}/{old.pk}", content("rather this"))
    assert answer.status == 200
    new = answer.body["message"]
    assert new["id"] > old.pk
    assert set(new) == MESSAGE | {"created_by", "model_config_id"}
    assert {key: answer.body[key] for key in new} == new
    assert set(answer.body) == set(new) | {"message"}
    body = shown(alice, chat)
    assert body["messages"] == [new]
    assert body["queued_messages"] == []
    assert fresh(chat).status == Status.PENDING


def test_an_edit_may_change_the_model(alice, chats, other_model):
    chat = chats.waiting()
    body = {**content(), "model_config_id": str(other_model.pk)}
    answer = alice.patch(f"{messages(chat)}/{first_message(chat).pk}", body)
    assert answer.body["message"]["model_config_id"] == str(other_model.pk)


def test_editing_twice_with_the_old_id_is_a_404(alice, chats):
    chat = chats.waiting()
    path = f"{messages(chat)}/{first_message(chat).pk}"
    assert alice.patch(path, content()).status == 200
    answer = refused(alice, "PATCH", path, content(), 404)
    assert answer.body == {
        "message": "Chat message not found.",
        "detail": "Message does not belong to this chat.",
    }


BAD_MESSAGE_IDS = [
    ("0", "Message ID must be a positive integer."),
    ("-5", "Message ID must be a positive integer."),
    ("x", 'strconv.ParseInt: parsing "x": invalid syntax'),
    ("1.5", 'strconv.ParseInt: parsing "1.5": invalid syntax'),
    ("%00", 'strconv.ParseInt: parsing "\x00": invalid syntax'),
    ("9223372036854775808", None),
    ("9" * 5000, None),
    ("\u0661", None),
]


@pytest.mark.parametrize(("raw", "detail"), BAD_MESSAGE_IDS)
def test_a_bad_message_id_is_told_before_the_body_is_read(alice, chats, raw, detail):
    path = f"{messages(chats.waiting())}/{raw}"
    answer = refused(alice, "PATCH", path, None, raw=b"{")
    assert answer.message == "Invalid chat message ID."
    assert "invalid syntax" in answer.detail or answer.detail == detail
    if detail is not None:
        assert answer.detail == detail


def test_a_message_that_is_not_there_cannot_be_edited(alice, chats):
    chat, other = chats.waiting(), chats.waiting()
    for wanted in (first_message(other).pk, 2**63 - 1):
        answer = refused(alice, "PATCH", f"{messages(chat)}/{wanted}", content(), 404)
        assert answer.message == "Chat message not found."


@pytest.mark.parametrize("role", [Role.ASSISTANT, Role.SYSTEM])
def test_only_messages_of_people_can_be_edited(alice, chats, role):
    chat = chats.waiting()
    target = chat.messages.filter(role=role).earliest("id")
    answer = refused(alice, "PATCH", f"{messages(chat)}/{target.pk}", content())
    assert answer.message == "Only user messages can be edited."


def test_an_edit_with_an_unknown_model_cuts_nothing(alice, chats):
    chat = chats.waiting()
    before = shown(alice, chat)
    body = {**content(), "model_config_id": UNKNOWN}
    answer = refused(alice, "PATCH", f"{messages(chat)}/{first_message(chat).pk}", body)
    assert answer.message == "Invalid model config ID."
    assert shown(alice, chat) == before


# The queue


def test_a_queued_message_is_deleted_once_and_again_is_no_error(alice, chats):
    chat = chats.running()
    queued = queue(chat)
    for _ in range(2):
        assert alice.delete(f"/chats/{chat.pk}/queue/{queued.pk}").status == 204
    assert not ChatQueuedMessage.objects.exists()


def test_a_queued_message_of_another_chat_stays(alice, chats):
    chat, other = chats.running(), chats.running()
    queued = queue(other)
    assert alice.delete(f"/chats/{chat.pk}/queue/{queued.pk}").status == 204
    assert ChatQueuedMessage.objects.get() == queued


def test_an_archived_chat_gives_up_queued_messages(alice, chats):
    chat = chats.running()
    queued = queue(chat)
    states.archive_chat(chat.pk, partials={chat.pk: Partial(None)})
    assert alice.delete(f"/chats/{chat.pk}/queue/{queued.pk}").status == 204
    assert not ChatQueuedMessage.objects.exists()


@pytest.mark.parametrize("raw", ["x", "1.5", "%00", "9223372036854775808", "9" * 5000, "\u0661"])
def test_a_bad_queued_id_is_a_400(alice, chats, raw):
    base = f"/chats/{chats.running().pk}/queue/{raw}"
    for answer in (
        refused(alice, "DELETE", base, None),
        refused(alice, "POST", f"{base}/promote", None),
    ):
        assert answer.message == "Invalid queued message ID."
        assert "invalid syntax" in answer.detail


@pytest.mark.parametrize("raw", ["0", "-1", "+7", "9223372036854775807"])
def test_an_unknown_queued_id_is_deleted_but_not_promoted(alice, chats, raw):
    base = f"/chats/{chats.running().pk}/queue/{raw}"
    assert alice.delete(base).status == 204
    answer = refused(alice, "POST", f"{base}/promote", None, 404)
    assert answer.message == "Failed to promote queued message."


@pytest.mark.parametrize("make", [Chats.running, Chats.pending, Chats.requiring_action])
def test_a_promoted_message_is_the_next_one(alice, chats, make):
    chat = make(chats)
    queue(chat, "first")
    second = queue(chat, "second")
    path = f"/chats/{chat.pk}/queue/{second.pk}/promote"
    answer = alice.post(path)
    assert answer.body == {"message": "Queued message promotion accepted."}
    body = shown(alice, chat)
    assert body["messages"][0]["content"] == [{"type": "text", "text": "second"}]
    assert [entry["content"][0]["text"] for entry in body["queued_messages"]] == ["first"]
    assert fresh(chat).status == Status.PENDING
    assert refused(alice, "POST", path, None, 404).message == "Failed to promote queued message."


def test_promotion_closes_the_open_calls_of_the_client(alice, chats):
    chat = chats.requiring_action("call-1", "call-2")
    queued = queue(chat)
    alice.post(f"/chats/{chat.pk}/queue/{queued.pk}/promote")
    newest = shown(alice, chat)["messages"]
    assert [m["role"] for m in newest[:3]] == ["user", "tool", "tool"]
    for message in newest[1:3]:
        (part,) = message["content"]
        assert part["is_error"] is True
        assert part["result"] == "Tool execution interrupted by queued message promotion"
        assert "created_by" not in message


# Interrupt


@pytest.mark.parametrize(
    ("status", "after"),
    [
        (Status.RUNNING, "waiting"),
        (Status.REQUIRES_ACTION, "waiting"),
        (Status.ERROR, "waiting"),
        (Status.WAITING, "waiting"),
        (Status.PENDING, "pending"),
    ],
)
def test_interrupt_never_fails_because_of_the_state(alice, chats, status, after):
    chat = chats.in_status(status)
    for _ in range(2):
        answer = alice.post(f"/chats/{chat.pk}/interrupt")
        assert (answer.status, answer.body["status"]) == (200, after)
        assert set(answer.body) == CHAT_ALWAYS
        assert answer.body["children"] == []


def test_an_archived_chat_can_be_interrupted(alice, chats):
    answer = alice.post(f"/chats/{chats.archived().pk}/interrupt")
    assert (answer.status, answer.body["archived"]) == (200, True)


@pytest.mark.parametrize("body", [b"", b"{nonsense", b"[]", b"\xff", b"x" * 5_000_000])
def test_interrupt_reads_no_body(alice, chats, body):
    path = f"/chats/{chats.running().pk}/interrupt"
    assert alice.post(path, raw=body, content_type=None).status == 200


def test_interrupt_answers_the_open_calls_of_the_client(alice, chats):
    chat = chats.requiring_action("call-1", "call-2")
    alice.post(f"/chats/{chat.pk}/interrupt")
    newest = shown(alice, chat)["messages"][:2]
    parts = [message["content"][0] for message in newest]
    assert [part["tool_call_id"] for part in parts] == ["call-2", "call-1"]
    assert {part["result"] for part in parts} == {"Tool execution interrupted by user"}


def test_interrupt_takes_the_head_of_the_queue(alice, chats):
    chat = chats.running()
    queue(chat, "next")
    assert alice.post(f"/chats/{chat.pk}/interrupt").body["status"] == "pending"
    assert shown(alice, chat)["messages"][0]["content"] == [{"type": "text", "text": "next"}]


# Tool results


def results(*entries, **fields) -> dict:
    return {
        "results": [{"tool_call_id": e, "output": 1, "is_error": False, **fields} for e in entries]
    }


def test_results_are_stored_in_the_order_they_were_sent(alice, cast, chats):
    chat = chats.requiring_action("call-1", "call-2")
    body = {
        "results": [
            {"tool_call_id": "call-2", "output": {"b": [1, 2.5, None], "a": "\u0000"}},
            {"tool_call_id": "call-1", "output": None, "is_error": True},
        ]
    }
    assert alice.post(f"/chats/{chat.pk}/tool-results", body).status == 204
    assert fresh(chat).status == Status.PENDING
    second, first = shown(alice, chat)["messages"][:2]
    assert first["created_by"] == str(cast.alice.pk)
    assert set(first) == MESSAGE | {"created_by", "model_config_id"}
    (part,) = first["content"]
    assert part.pop("created_at").endswith("Z")
    assert part == {
        "type": "tool-result",
        "tool_call_id": "call-2",
        "tool_name": "lookup",
        "result": {"b": [1, 2.5, None], "a": "\u0000"},
    }
    (part,) = second["content"]
    assert (part["result"], part["is_error"]) == (None, True)


OUTPUTS = [
    None,
    True,
    0,
    -1.5,
    "",
    "text",
    [],
    {},
    {"a": {"b": [None]}},
    2**63,
    2**64,
    -(10**40),
    "\ue000\u0000\ue001",
    [[[[[]]]]],
]


@pytest.mark.parametrize("output", OUTPUTS, ids=repr)
def test_any_json_value_is_a_result_and_comes_back(alice, chats, output):
    chat = chats.requiring_action()
    assert (
        alice.post(f"/chats/{chat.pk}/tool-results", results("call-1", output=output)).status == 204
    )
    assert shown(alice, chat)["messages"][0]["content"][0]["result"] == output


def test_results_twice_are_a_conflict_that_is_no_usage_limit(alice, chats):
    chat = chats.requiring_action()
    path = f"/chats/{chat.pk}/tool-results"
    assert alice.post(path, results("call-1")).status == 204
    answer = refused(alice, "POST", path, results("call-1"), 409)
    assert answer.body == {
        "message": "Chat is not waiting for tool results.",
        "detail": 'Chat status is "pending", expected "requires_action".',
    }


BAD_RESULTS = [
    ({}, "At least one tool result is required.", ""),
    ({"results": None}, "At least one tool result is required.", ""),
    ({"results": []}, "At least one tool result is required.", ""),
    (
        results("call-1", "call-1", "x"),
        "Duplicate tool_call_id in results.",
        'Duplicate tool call ID "call-1".',
    ),
    (results("call-1", "x"), "Missing tool result.", 'Missing result for tool call "call-2".'),
    (
        results("call-1", "call-2", "x"),
        "Unexpected tool result.",
        'No pending tool call with ID "x".',
    ),
    (
        {"results": [{"tool_call_id": "call-1"}, {"tool_call_id": "call-2", "output": 1}]},
        "Tool result output must be valid JSON.",
        'Output for tool call "call-1" is not valid JSON.',
    ),
]


@pytest.mark.parametrize(("body", "message", "detail"), BAD_RESULTS)
def test_the_set_of_results_must_be_exact(alice, chats, body, message, detail):
    chat = chats.requiring_action("call-1", "call-2")
    answer = refused(alice, "POST", f"/chats/{chat.pk}/tool-results", body)
    assert (answer.message, answer.detail) == (message, detail)
    assert fresh(chat).status == Status.REQUIRES_ACTION


def test_an_empty_list_is_told_before_the_status(alice, chats):
    chat = chats.waiting()
    path = f"/chats/{chat.pk}/tool-results"
    assert refused(alice, "POST", path, {}).message == "At least one tool result is required."
    answer = refused(alice, "POST", path, results("call-1"), 409)
    assert answer.detail == 'Chat status is "waiting", expected "requires_action".'


def test_only_calls_of_the_clients_own_tools_are_open(alice, chats):
    chat = chats.pending(dynamic_tools=[{"name": "lookup"}])
    mixed = [*calls("mine").content, *calls("other", name="read_file").content]
    runs.require_action(start(chat), [NewMessage(role=Role.ASSISTANT, content=mixed)])
    path = f"/chats/{chat.pk}/tool-results"
    assert refused(alice, "POST", path, results("mine", "other")).message
    assert alice.post(path, results("mine")).status == 204


def test_the_routes_of_an_unknown_chat_are_all_the_same_404(alice, db):
    for method, path in (("POST", "messages"), ("PATCH", "messages/1"), ("POST", "tool-results")):
        assert alice.call(method, f"/chats/{UNKNOWN}/{path}", {}).body == NOT_FOUND
