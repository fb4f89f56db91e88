"""Prompts of the deployment and one's own: cleaned, bounded, and part of what models see."""

import json
from typing import Any

import pytest

from chatd.audit.models import AuditEntry
from chatd.chats.models import ChatMessage, Role
from chatd.chats.prompts import DEFAULT_SYSTEM_PROMPT, WORKSPACE_DETACHED
from chatd.preferences.kinds import MAX_PROMPT_BYTES
from chatd.preferences.registry import (
    CUSTOM_PROMPT,
    INCLUDE_DEFAULT_PROMPT,
    PLAN_MODE_INSTRUCTIONS,
    SYSTEM_PROMPT,
)
from tests.api.client import Answer, Api, text_part
from tests.conftest import Cast
from tests.support.settings import personal_texts, put_personal, put_site, site_texts

SYSTEM = "/chats/config/system-prompt"
PLAN = "/chats/config/plan-mode-instructions"
OWN = "/chats/config/user-prompt"
BAD_JSON = "Request body must be valid JSON."

# path, member, the message of a text that is too long
PROMPTS = [
    (SYSTEM, "system_prompt", "System prompt exceeds maximum length."),
    (PLAN, "plan_mode_instructions", "Plan mode instructions exceed maximum length."),
    (OWN, "custom_prompt", "Custom prompt exceeds maximum length."),
]
each_prompt = pytest.mark.parametrize(("path", "name", "too_long"), PROMPTS)

MESSY = "\ufeff  a\u200b\u00ad\r\nb \t\rc\u200c\n\n\n\nd\u2028 \n \n "
CLEAN = "a\nb\nc\u200c\n\nd"


@each_prompt
def test_a_prompt_is_cleaned_before_it_is_stored(path, name, too_long, root: Api) -> None:
    root.put(path, {name: MESSY})
    assert root.get(path).body[name] == CLEAN


@each_prompt
def test_a_prompt_has_128_kib_after_it_was_cleaned(path, name, too_long, root: Api) -> None:
    def put(text: str) -> Answer:
        return root.put(path, raw=json.dumps({name: text}, ensure_ascii=False).encode())

    largest = "ü" * (MAX_PROMPT_BYTES // 2)
    assert put(f"  {largest}\n\n\n\u200b").status in (200, 204)
    assert root.get(path).body[name] == largest
    answer = put(f"{largest}x")
    assert (answer.status, answer.message) == (400, too_long)
    assert root.get(path).body[name] == largest


@each_prompt
def test_a_body_has_256_kib(path, name, too_long, root: Api) -> None:
    def body(size: int) -> bytes:
        head, tail = f'{{"{name}":"x'.encode(), b'"}'
        return head + b" " * (size - len(head) - len(tail)) + tail

    assert root.put(path, raw=body(262_144)).status in (200, 204)
    answer = root.put(path, raw=body(262_145))
    assert (answer.status, answer.message) == (400, BAD_JSON)
    assert "too large" in answer.detail


@each_prompt
def test_a_prompt_may_hold_every_character(path, name, too_long, root: Api) -> None:
    nasty = "a\x00b\ue000\ue001\U0010ffff\x85c"
    assert root.put(path, {name: nasty}).status in (200, 204)
    assert root.get(path).body[name] == nasty


@each_prompt
@pytest.mark.parametrize("wrong", [1, True, [], {}])
def test_a_prompt_is_a_text(path, name, too_long, wrong, root: Api) -> None:
    assert root.put(path, {name: wrong}).message == BAD_JSON


@each_prompt
def test_an_empty_or_absent_prompt_is_none(path, name, too_long, root: Api) -> None:
    for body in ({name: "\u200b \n"}, {}, {name: None}):
        root.put(path, {name: "x"})
        assert root.put(path, body).status in (200, 204)
        assert root.get(path).body[name] == ""


# Whether the built-in prompt is included


def included(api: Api) -> bool:
    return bool(api.get(SYSTEM).body["include_default_system_prompt"])


def test_the_built_in_prompt_is_included_until_there_is_another(root: Api) -> None:
    assert included(root) is True
    root.put(SYSTEM, {"system_prompt": "Own."})
    assert included(root) is False
    root.put(SYSTEM, {"system_prompt": " "})
    assert included(root) is True
    assert INCLUDE_DEFAULT_PROMPT.key not in site_texts()


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("prompt", ["", "Own."])
def test_a_choice_stays_whatever_the_prompt_is(chosen: bool, prompt: str, root: Api) -> None:
    body = {"system_prompt": "Other.", "include_default_system_prompt": chosen}
    assert root.put(SYSTEM, body).status == 204
    for later in ({"system_prompt": prompt}, {"include_default_system_prompt": None}):
        root.put(SYSTEM, later)
        assert included(root) is chosen


def test_a_refused_prompt_changes_no_choice(root: Api) -> None:
    body = {"system_prompt": "x" * (MAX_PROMPT_BYTES + 1), "include_default_system_prompt": False}
    assert root.put(SYSTEM, body).status == 400
    assert site_texts() == {}
    assert root.put(SYSTEM, {"include_default_system_prompt": "no"}).message == BAD_JSON


@pytest.mark.parametrize("text", ["TRUE", "yes", "0"])
def test_a_stored_choice_that_is_not_true_is_false(text: str, root: Api) -> None:
    put_site(INCLUDE_DEFAULT_PROMPT, text)
    assert included(root) is False


# One's own prompt


def test_ones_own_prompt_is_answered_as_it_was_stored(alice: Api, cast: Cast) -> None:
    answer = alice.put(OWN, {"custom_prompt": MESSY})
    assert (answer.status, answer.body) == (200, {"custom_prompt": CLEAN})
    again = alice.put(OWN, {"custom_prompt": MESSY})
    assert again.raw == answer.raw
    assert personal_texts(cast.alice) == {CUSTOM_PROMPT.key: CLEAN}


def test_everybody_has_a_prompt_of_their_own(alice: Api, bob: Api, root: Api) -> None:
    alice.put(OWN, {"custom_prompt": "of alice"})
    for other in (bob, root):
        assert other.get(OWN).body == {"custom_prompt": ""}
    bob.put(OWN, {"custom_prompt": "of bob"})
    assert alice.get(OWN).body == {"custom_prompt": "of alice"}
    assert not AuditEntry.objects.filter(resource_type="setting").exists()


def test_nobody_has_no_prompt(db: None) -> None:
    assert Api().get(OWN).status == 401
    assert Api().put(OWN, {"custom_prompt": "x"}).status == 401


def test_a_stored_prompt_that_is_not_clean_is_cleaned_when_it_is_read(
    root: Api, cast: Cast
) -> None:
    put_site(SYSTEM_PROMPT, MESSY)
    put_site(PLAN_MODE_INSTRUCTIONS, "\u200b")
    put_personal(cast.root, CUSTOM_PROMPT, MESSY)
    assert root.get(SYSTEM).body["system_prompt"] == CLEAN
    assert root.get(PLAN).body["plan_mode_instructions"] == ""
    assert root.get(OWN).body["custom_prompt"] == CLEAN


# What new chats begin with


def opening(api: Api, **fields: Any) -> list[str]:
    """Create a chat and return the hidden texts that open it."""
    created = api.post("/chats", {"content": [text_part()], **fields})
    assert created.status == 201
    rows = ChatMessage.objects.filter(chat=created.body["id"], role=Role.SYSTEM).order_by("id")
    return [row.content[0]["text"] for row in rows]


OPENINGS = [
    ({}, DEFAULT_SYSTEM_PROMPT),
    ({"system_prompt": "Own."}, "Own."),
    (
        {"system_prompt": "Own.", "include_default_system_prompt": True},
        f"{DEFAULT_SYSTEM_PROMPT}\n\nOwn.",
    ),
    ({"include_default_system_prompt": False}, None),
]


@pytest.mark.parametrize(("body", "prompt"), OPENINGS)
def test_a_new_chat_begins_with_the_prompt_of_the_deployment(
    body, prompt, root: Api, alice: Api, model
) -> None:
    root.put(SYSTEM, body)
    expected = [prompt] if prompt else []
    assert opening(alice) == [*expected, WORKSPACE_DETACHED]
    assert opening(alice, system_prompt="Mine.") == [*expected, "Mine.", WORKSPACE_DETACHED]


def test_a_chat_keeps_the_prompt_it_began_with(root: Api, alice: Api, model) -> None:
    root.put(SYSTEM, {"system_prompt": "Old."})
    opening(alice)
    root.put(SYSTEM, {"system_prompt": "New."})
    texts = [row.content[0]["text"] for row in ChatMessage.objects.filter(role=Role.SYSTEM)]
    assert "Old." in texts
    assert "New." not in texts
