"""POST /chats: the shape, the order of the checks, and what Go clients send."""

import copy
import json

import pytest

from chatd.accounts.models import Organization, OrganizationMember
from chatd.chats.models import Chat, ChatMessage, Role, Visibility
from chatd.providers.model_configs import delete_model_config, save_model_config
from chatd.providers.models import ModelConfig
from tests.api.client import NIL, TOOL, Api, Chats, rows, text_part
from tests.conftest import Cast
from tests.support.contract import CHAT_ALWAYS

UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"


def body_of(cast: Cast, **fields):
    return {
        "organization_id": str(cast.organization.pk),
        "content": [text_part("What is the weather like in Oslo today?")],
        **fields,
    }


def refused(api: Api, body, **options):
    """Post and return the answer of a refusal that left nothing behind."""
    before = rows()
    answer = api.post("/chats", body, **options)
    assert answer.status >= 400
    assert rows() == before
    return answer


def test_a_new_chat_has_every_field_and_no_other(alice, cast, model):
    answer = alice.post("/chats", body_of(cast))
    chat = Chat.objects.get()
    assert answer.status == 201
    created = answer.body.pop("created_at")
    assert answer.body.pop("updated_at") == created
    assert created.endswith("Z")
    assert answer.body == {
        "id": str(chat.pk),
        "organization_id": str(cast.organization.pk),
        "owner_id": str(cast.alice.pk),
        "owner_username": "alice",
        "root_chat_id": str(chat.pk),
        "last_model_config_id": str(model.pk),
        "title": "What is the weather like in…",
        "status": "pending",
        "last_turn_summary": None,
        "archived": False,
        "pin_order": 0,
        "mcp_server_ids": [],
        "labels": {},
        "has_unread": False,
        "client_type": "api",
        "children": [],
    }


def test_what_was_chosen_is_shown(alice, cast, model):
    cast.alice.name = "Alice Ames"
    cast.alice.save()
    answer = alice.post(
        "/chats",
        body_of(cast, labels={"team/a.b-c": "x y"}, plan_mode="plan", client_type="ui"),
    )
    assert set(answer.body) == CHAT_ALWAYS | {"owner_name", "plan_mode"}
    assert answer.body["owner_name"] == "Alice Ames"
    assert answer.body["labels"] == {"team/a.b-c": "x y"}
    assert answer.body["plan_mode"] == "plan"
    assert answer.body["client_type"] == "ui"


def test_the_message_is_stored_after_hidden_ones(alice, cast, model):
    alice.post("/chats", body_of(cast, system_prompt="Be\r\nkind.  "))
    stored = list(ChatMessage.objects.order_by("id"))
    assert [row.role for row in stored] == [Role.SYSTEM] * 3 + [Role.USER]
    assert stored[1].content == [{"type": "text", "text": "Be\nkind."}]
    assert {row.visibility for row in stored[:3]} == {Visibility.MODEL}
    assert stored[3].created_by == cast.alice.pk
    assert stored[3].api_key_id


def test_twice_makes_two_chats(alice, cast, model):
    first, second = (alice.post("/chats", body_of(cast)) for _ in range(2))
    assert first.body["id"] != second.body["id"]
    assert Chat.objects.count() == 2


# The order of the checks


def violations(cast: Cast):
    """Return, in the order of the contract: what is wrong, its repair, and the answer."""
    elsewhere = str(OrganizationMember.objects.get(user=cast.carol).organization_id)
    here = str(cast.organization.pk)
    tools = [{"name": f"t{i}", "input_schema": {}} for i in range(249)]
    return [
        ("organization_id", NIL, elsewhere, 400, "organization_id is required.", ""),
        (
            "organization_id",
            elsewhere,
            here,
            403,
            "You are not a member of the specified organization.",
            "",
        ),
        (
            "system_prompt",
            "ø" * 5001,
            "ø" * 5000,
            400,
            "System prompt exceeds maximum length.",
            "System prompt must be at most 10000 characters, got 10002.",
        ),
        ("content", [], [text_part()], 400, "Content is required.", "Content cannot be empty."),
        (
            "workspace_id",
            UNKNOWN,
            None,
            400,
            "Workspace not found or you do not have access to this resource",
            "",
        ),
        ("model_config_id", NIL, UNKNOWN, 400, "Invalid model config ID.", ""),
        ("plan_mode", "off", "plan", 400, "Invalid plan_mode value.", ""),
        (
            "mcp_server_ids",
            [UNKNOWN, NIL],
            [],
            400,
            "One or more MCP server IDs are invalid.",
            f"Invalid IDs: {UNKNOWN}, {NIL}",
        ),
        ("labels", {"": "x"}, {"a": "b"}, 400, "Invalid labels.", ""),
        (
            "unsafe_dynamic_tools",
            [*tools, {"name": ""}, {"name": "t1"}],
            [*tools[:-1], {"name": ""}, {"name": "t1"}],
            400,
            "Too many dynamic tools.",
            "Maximum 250 dynamic tools per chat.",
        ),
        (
            "unsafe_dynamic_tools",
            None,
            [*tools, {"name": "t1"}],
            400,
            "Dynamic tool name must not be empty.",
            "",
        ),
        (
            "unsafe_dynamic_tools",
            None,
            tools,
            400,
            "Duplicate dynamic tool name.",
            'Tool "t1" appears more than once.',
        ),
        ("client_type", "web", "ui", 400, "Invalid client_type.", ""),
        ("model_config_id", UNKNOWN, None, 400, "Invalid model config ID.", ""),
    ]


def test_the_first_violation_in_the_order_of_the_contract_wins(alice, cast, model):
    steps = violations(cast)
    # A later step of the same field starts with what repaired the earlier one.
    body = {name: bad for name, bad, *_ in reversed(steps) if bad is not None}
    answer = refused(alice, None, raw=b"{nonsense")
    assert (answer.status, answer.message) == (400, "Request body must be valid JSON.")
    for name, _, repaired, status, message, detail in steps:
        answer = refused(alice, body)
        assert (answer.status, answer.message, answer.detail) == (status, message, detail)
        body[name] = repaired
    assert alice.post("/chats", body).status == 201


def test_no_default_model_is_told_before_the_plan_mode(alice, cast):
    answer = refused(alice, body_of(cast, plan_mode="off"))
    assert answer.message == "No default chat model config is configured."


def test_the_right_to_create_comes_before_the_content(alice, cast, model, without_access):
    without_access()
    answer = refused(alice, body_of(cast, content=[], system_prompt="x" * 20_000))
    assert (answer.status, answer.message) == (403, "Forbidden.")


def test_a_disabled_model_is_accepted_and_a_deleted_one_is_not(alice, cast, model):
    other = save_model_config(
        ModelConfig(ai_provider=model.ai_provider, model="other", enabled=False)
    )
    body = body_of(cast, model_config_id=str(other.pk))
    assert alice.post("/chats", body).body["last_model_config_id"] == str(other.pk)
    delete_model_config(other)
    assert refused(alice, body).message == "Invalid model config ID."


def test_an_administrator_who_is_no_member_may_not_create(root, cast, model):
    OrganizationMember.objects.filter(user=cast.root).delete()
    answer = refused(root, body_of(cast))
    assert answer.message == "You are not a member of the specified organization."


# Which organisation


def test_without_the_key_the_default_organisation_is_taken(alice, cast, model):
    answer = alice.post("/chats", {"content": [text_part()]})
    assert answer.body["organization_id"] == str(cast.organization.pk)


def test_without_the_key_the_only_organisation_of_the_caller_is_taken(carol, cast, model):
    answer = carol.post("/chats", {"content": [text_part()]})
    elsewhere = OrganizationMember.objects.get(user=cast.carol).organization_id
    assert (answer.status, answer.body["organization_id"]) == (201, str(elsewhere))


def test_without_the_key_nobody_guesses_among_several_organisations(carol, cast, model):
    third = Organization.objects.create(name="third")
    OrganizationMember.objects.create(organization=third, user=cast.carol)
    assert refused(carol, {"content": [text_part()]}).message == "organization_id is required."


@pytest.mark.parametrize("given", [None, NIL])
def test_an_organisation_that_is_null_or_nil_is_refused(alice, cast, model, given):
    assert refused(alice, body_of(cast, organization_id=given)).status == 400


def test_a_deleted_organisation_is_one_nobody_is_a_member_of(alice, cast, model):
    cast.organization.deleted = True
    cast.organization.save()
    assert refused(alice, body_of(cast)).status == 403


def test_ids_are_taken_in_any_case_and_shown_in_lower_case(alice, cast, model):
    answer = alice.post(
        "/chats",
        body_of(
            cast,
            organization_id=str(cast.organization.pk).upper(),
            model_config_id=str(model.pk).upper(),
        ),
    )
    assert answer.body["organization_id"] == str(cast.organization.pk)
    assert answer.body["last_model_config_id"] == str(model.pk)
    shown = alice.get(f"/chats/{answer.body['id'].upper()}")
    assert shown.body["id"] == answer.body["id"]


# Content

BAD_PARTS = [
    ({"type": "text", "text": ""}, "content[1].text cannot be empty."),
    ({"type": "text", "text": " \n\t "}, "content[1].text cannot be empty."),
    ({"type": "text"}, "content[1].text cannot be empty."),
    ({"type": "text", "text": None}, "content[1].text cannot be empty."),
    ({"type": "file"}, "content[1].file_id is required for file parts."),
    ({"type": "file", "file_id": NIL}, "content[1].file_id is required for file parts."),
    (
        {"type": "file", "file_id": UNKNOWN},
        "content[1].file_id references a file that does not exist.",
    ),
    (
        {"type": "file-reference", "content": "x"},
        "content[1].file_name cannot be empty for file-reference.",
    ),
    ({"type": "image"}, 'content[1].type "image" is not supported.'),
    ({"type": ""}, 'content[1].type "" is not supported.'),
    ({}, 'content[1].type "" is not supported.'),
    ({"type": "tool-call"}, 'content[1].type "tool-call" is not supported.'),
]


@pytest.mark.parametrize(("part", "detail"), BAD_PARTS)
def test_a_bad_part_is_named_by_its_index(alice, cast, model, part, detail):
    answer = refused(alice, body_of(cast, content=[text_part(), part]))
    assert (answer.status, answer.message, answer.detail) == (400, "Invalid input part.", detail)


@pytest.mark.parametrize("content", [None, []])
def test_content_is_required(alice, cast, model, content):
    answer = refused(alice, body_of(cast, content=content))
    assert (answer.message, answer.detail) == ("Content is required.", "Content cannot be empty.")
    body = body_of(cast)
    del body["content"]
    assert refused(alice, body).message == "Content is required."


def test_parts_keep_their_order_and_texts_are_trimmed(alice, cast, model):
    content = [
        {"type": " TEXT ", "text": "  first \n", "file_id": NIL},
        {"type": "File-Reference", "file_name": "a.py", "start_line": 9, "end_line": 2},
        {"type": "text", "text": "last"},
    ]
    chat = alice.post("/chats", body_of(cast, content=content)).body
    shown = alice.get(f"/chats/{chat['id']}/messages").body["messages"][0]["content"]
    assert shown == [
        {"type": "text", "text": "first"},
        {
            "type": "file-reference",
            "file_name": "a.py",
            "start_line": 9,
            "end_line": 2,
            "content": "",
        },
        {"type": "text", "text": "last"},
    ]


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ([text_part("one two three four five six")], "one two three four five six"),
        ([text_part("one two three four five six seven")], "one two three four five six…"),
        ([text_part("one\ntwo"), text_part("three")], "one two three"),
        ([text_part("x" * 200)], "x" * 80),
        ([text_part("\u0000")], "New Chat"),
        (
            [{"type": "file-reference", "file_name": "a.py", "start_line": 3, "end_line": 3}],
            "[file-reference] a.py:3",
        ),
        (
            [{"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 3}],
            "[file-reference] a.py:1-3",
        ),
    ],
)
def test_the_first_title_is_made_of_the_first_words(alice, cast, model, content, title):
    assert alice.post("/chats", body_of(cast, content=content)).body["title"] == title


# Labels

GOOD_LABELS = [
    {},
    {"a": "b"},
    {"A9._/-": "ø" * 128},
    {"k" * 64: "v" * 256},
    {f"k{i}": "v" for i in range(50)},
    {"a": " "},
    {"a": "x\u0000y"},
]


@pytest.mark.parametrize("labels", GOOD_LABELS)
def test_good_labels_come_back_as_they_are(alice, cast, model, labels):
    created = alice.post("/chats", body_of(cast, labels=labels)).body
    assert created["labels"] == labels
    assert alice.get(f"/chats/{created['id']}").body["labels"] == labels


BAD_LABELS = [
    ({"": "x"}, 1),
    ({"": ""}, 2),
    ({"a": ""}, 1),
    ({"k" * 65: "v"}, 1),
    ({"a": "v" * 257}, 1),
    ({"a": "ø" * 129}, 1),
    ({"-a": "v"}, 1),
    ({"a b": "v"}, 1),
    ({"ä": "v"}, 1),
    ({"a\n": "v"}, 1),
    ({"a\u0000": "v"}, 1),
    ({f"k{i}": "v" for i in range(51)}, 1),
    ({f"k {i}": "" for i in range(51)}, 103),
]


@pytest.mark.parametrize(("labels", "violations"), BAD_LABELS)
def test_every_violation_of_a_label_is_an_entry_of_its_own(alice, cast, model, labels, violations):
    answer = refused(alice, body_of(cast, labels=labels))
    assert (answer.status, answer.message) == (400, "Invalid labels.")
    assert [entry["field"] for entry in answer.body["validations"]] == ["labels"] * violations
    assert all(entry["detail"] for entry in answer.body["validations"])


# Tools of the client


def test_tools_are_stored_as_given_and_never_shown(alice, cast, model):
    tools = [
        {"name": "a", "description": "d", "input_schema": {"z": 1, "a": [None, 1.5, "\u0000"]}},
        {"name": "read_file", "input_schema": None},
        {"name": "b\u0000", "input_schema": "not a schema"},
    ]
    created = alice.post("/chats", body_of(cast, unsafe_dynamic_tools=tools))
    assert created.status == 201
    assert "dynamic_tools" not in json.dumps(created.body)
    stored = Chat.objects.get().dynamic_tools
    assert [tool["name"] for tool in stored] == ["a", "read_file", "b\u0000"]
    assert stored[0]["input_schema"] == tools[0]["input_schema"]


def test_250_tools_are_accepted(alice, cast, model):
    tools = [{**TOOL, "name": f"t{i}"} for i in range(250)]
    assert alice.post("/chats", body_of(cast, unsafe_dynamic_tools=tools)).status == 201


# What programs send


def test_what_a_go_client_sends_for_nothing_is_nothing(alice, cast, model):
    body = body_of(cast, content=[text_part("hi")])
    assert alice.post("/chats", body).status == 201


OPTIONAL = [
    "system_prompt",
    "workspace_id",
    "model_config_id",
    "mcp_server_ids",
    "labels",
    "unsafe_dynamic_tools",
    "plan_mode",
    "client_type",
]


@pytest.mark.parametrize("name", OPTIONAL)
def test_null_is_not_given(alice, cast, model, name):
    answer = alice.post("/chats", body_of(cast, **{name: None}))
    assert (answer.status, set(answer.body)) == (201, CHAT_ALWAYS)


@pytest.mark.parametrize(
    ("name", "empty"),
    [
        ("system_prompt", ""),
        ("workspace_id", NIL),
        ("mcp_server_ids", []),
        ("labels", {}),
        ("unsafe_dynamic_tools", []),
        ("plan_mode", ""),
        ("client_type", ""),
    ],
)
def test_a_zero_value_is_not_given(alice, cast, model, name, empty):
    answer = alice.post("/chats", body_of(cast, **{name: empty}))
    assert (answer.status, set(answer.body)) == (201, CHAT_ALWAYS)


def test_null_in_every_field_of_a_part_is_not_given(alice, cast, model):
    names = ["file_id", "file_name", "start_line", "end_line", "content"]
    part = {"type": "text", "text": "hi", **dict.fromkeys(names)}
    assert alice.post("/chats", body_of(cast, content=[part])).status == 201


def test_unknown_fields_are_ignored_everywhere(alice, cast, model):
    body = copy.deepcopy(body_of(cast, unsafe_dynamic_tools=[{**TOOL, "handler": {}}]))
    body |= {"surprise": {"deep": [1, {"x": None}]}, "id": NIL, "owner_id": NIL}
    body["content"][0]["surprise"] = 1
    created = alice.post("/chats", body)
    assert created.status == 201
    assert created.body["owner_id"] == str(cast.alice.pk)


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/json; charset=utf-8", "nonsense", "a/b; charset=bogus"],
)
def test_the_content_type_does_not_matter(alice, cast, model, content_type):
    assert alice.post("/chats", body_of(cast), content_type=content_type).status == 201


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_not_even_the_content_type_of_a_form_matters(alice, cast, model, content_type):
    assert alice.post("/chats", body_of(cast), content_type=content_type).status == 201


def test_dates_and_lists_are_never_null(alice, cast, model, chats: Chats):
    created = alice.post("/chats", body_of(cast)).body
    for name in ("mcp_server_ids", "children"):
        assert created[name] == []
    assert [name for name, value in created.items() if value is None] == ["last_turn_summary"]
