"""When a turn goes on from a stored answer, and what it sends then."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from chatd.chats.models import PlanMode, Role
from chatd.chats.selectors import PromptRow
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    ReasoningBlock,
    Request,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    UserMessage,
)
from chatd.providers.selectors import ModelCall
from chatd.turns.chain import Chain, chain_of, unlinked
from chatd.turns.history import request_of
from chatd.turns.prompt import prompt_from
from tests.support.prompts import call, context_file, result, row, text

MODEL = UUID(int=1)
SYSTEM = row(Role.SYSTEM, text("Be kind"))
ASKED = row(Role.USER, text("One"))
SAID = row(Role.ASSISTANT, text("First"), model_config_id=MODEL)
MORE = row(Role.USER, text("Two"))
FOUND = row(Role.TOOL, result("a", {"n": 1}))
SUMMARY = row(Role.USER, text("So far"), is_summary=True)
SEARCHED = row(
    Role.ASSISTANT,
    call("ws_1", provider_executed=True),
    result("ws_1", {}, provider_executed=True),
    text("First"),
    model_config_id=MODEL,
)


def said(*parts: Any, **fields: Any) -> PromptRow:
    return row(Role.ASSISTANT, *parts, **{"model_config_id": MODEL, **fields})


def found_chain(
    rows: Sequence[PromptRow],
    *,
    section: Mapping[str, Any] | None = None,
    plan_mode: str | None = None,
    **fields: Any,
) -> Chain | None:
    """Return the chain of a turn; `section` are its options of OpenAI, none of them set."""
    options = {"provider_options": {"openai": {} if section is None else dict(section)}}
    chosen = {"provider_type": "openai", "model": "gpt-5", "options": options, **fields}
    model_call = ModelCall(
        config_id=MODEL,
        user_id=UUID(int=2),
        provider_name="",
        base_url="http://x",
        api_key="",
        context_limit=0,
        compression_threshold=0,
        **chosen,
    )
    request = request_of(model_call, prompt_from(rows, {}), (), plan_mode)
    return chain_of(rows, {}, model_call, request, plan_mode=plan_mode)


@pytest.mark.parametrize("rows", [[SYSTEM, ASKED, SAID, MORE], [SYSTEM, SUMMARY, SAID, MORE]])
@pytest.mark.parametrize("kind", ["openai", "azure"])
@pytest.mark.parametrize("section", [{}, {"store": True}])
def test_a_turn_goes_on_from_the_answer_that_its_history_ends_with(rows, kind, section):
    chain = found_chain(rows, section=section, provider_type=kind)
    assert chain == Chain(
        response_id="resp_1", said_since=(UserMessage(blocks=(TextBlock(text="Two"),)),)
    )


# why, rows, what else is different
UNCHAINED: list[tuple[str, list[PromptRow], dict[str, Any]]] = [
    ("answers are not kept", [ASKED, SAID, MORE], {"section": {"store": False}}),
    ("the model has no options", [ASKED, SAID, MORE], {"options": {}}),
    (
        "the options are of others",
        [ASKED, SAID, MORE],
        {"options": {"provider_options": {"vercel": {}}}},
    ),
    ("another wire", [ASKED, SAID, MORE], {"model": "gpt-5-but-mine"}),
    ("another kind", [ASKED, SAID, MORE], {"provider_type": "openai-compat"}),
    ("a plan is made", [ASKED, SAID, MORE], {"plan_mode": PlanMode.PLAN}),
    ("another model", [ASKED, said(text("x"), model_config_id=UUID(int=9)), MORE], {}),
    ("no model", [ASKED, said(text("x"), model_config_id=None), MORE], {}),
    ("cut off", [ASKED, said(text("x"), provider_response_id=None), MORE], {}),
    ("an empty id", [ASKED, said(text("x"), provider_response_id=""), MORE], {}),
    ("an open call", [ASKED, said(call("a")), MORE], {}),
    ("results that were not sent", [ASKED, said(call("a")), FOUND, MORE], {}),
    (
        "unreadable content",
        [ASKED, PromptRow(0, Role.ASSISTANT, None, False, MODEL, "r"), MORE],
        {},
    ),
    ("no answer yet", [SYSTEM, ASKED], {}),
    ("nothing at all", [], {}),
    ("nothing since", [ASKED, SAID], {}),
    ("nothing to be seen since", [ASKED, SAID, row(Role.USER, text(" "))], {}),
    ("only a summary since", [SUMMARY, MORE], {}),
    ("something else in between", [ASKED, SAID, SYSTEM, MORE], {}),
    ("a step since", [ASKED, SAID, MORE, said(call("a")), FOUND], {}),
]


@pytest.mark.parametrize(("why", "rows", "fields"), UNCHAINED, ids=[case[0] for case in UNCHAINED])
def test_a_turn_sends_it_all_otherwise(why, rows, fields):
    assert found_chain(rows, **fields) is None


def test_searches_of_the_provider_leave_nothing_open():
    assert found_chain([ASKED, SEARCHED, MORE]) is not None


def test_results_of_nobody_do_not_count():
    chain = found_chain([ASKED, SAID, FOUND, MORE])
    assert chain is not None
    assert len(chain.said_since) == 1


def test_all_that_was_said_since_is_sent_and_nothing_twice():
    silent = said({"type": "source", "url": "https://a"})
    chain = found_chain([ASKED, silent, MORE, row(Role.USER, text("Three"))])
    assert chain is not None
    texts = [block.text for message in chain.said_since for block in message.blocks]
    assert texts == ["Two", "Three"]


def test_a_chained_request_has_system_messages_and_what_was_said_since_alone():
    rows = [SYSTEM, row(Role.USER, context_file("a.md", "A")), ASKED, SAID, MORE]
    chain = found_chain(rows)
    assert chain is not None
    request = Request(model="gpt-5", messages=prompt_from(rows, {}), temperature=0.5)
    sent = chain.applied_to(request)
    systems = [message for message in request.messages if isinstance(message, SystemMessage)]
    assert len(systems) == 2
    assert sent.messages == (*systems, *chain.said_since)
    assert (sent.previous_response_id, sent.temperature) == ("resp_1", 0.5)


def test_an_unlinked_request_keeps_what_was_said_and_nothing_that_refers():
    kept = {"openai": {"item_id": "x"}}
    blocks = (
        ReasoningBlock(text="", provider_metadata=kept),
        ReasoningBlock(text="hm", provider_metadata=kept),
        TextBlock(text="So", provider_metadata=kept),
        ToolCallBlock(id="a", name="find", arguments="{}", provider_metadata=kept),
        FileBlock(media_type="image/png", data=b"x"),
    )
    request = Request(
        model="gpt-5",
        messages=(SystemMessage(text="s"), AssistantMessage(blocks=blocks)),
        previous_response_id="resp_1",
    )
    assert unlinked(request) == Request(
        model="gpt-5",
        messages=(
            SystemMessage(text="s"),
            AssistantMessage(
                blocks=(
                    ReasoningBlock(text="hm"),
                    TextBlock(text="So"),
                    ToolCallBlock(id="a", name="find", arguments="{}"),
                    FileBlock(media_type="image/png", data=b"x"),
                )
            ),
        ),
    )
