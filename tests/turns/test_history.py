"""What a turn sends besides its messages."""

from uuid import UUID

import pytest

from chatd.chats.models import PlanMode
from chatd.llm.types import Request
from chatd.providers.selectors import ModelCall
from chatd.turns.history import request_of
from chatd.turns.model_calls import DEFAULT_MAX_OUTPUT_TOKENS

SECTIONS = {
    "openai": {"web_search_enabled": True, "search_context_size": "low"},
    "anthropic": {"web_search_enabled": True},
}


def requested(options: object, plan_mode: str | None = None) -> Request:
    call = ModelCall(
        config_id=UUID(int=1),
        user_id=UUID(int=2),
        model="gpt-5",
        provider_type="openai",
        provider_name="",
        base_url="http://x",
        api_key="",
        context_limit=0,
        compression_threshold=0,
        options=options,  # type: ignore[arg-type]
    )
    return request_of(call, (), (), plan_mode)


def test_the_web_is_searched_where_that_is_enabled():
    assert requested({"provider_options": SECTIONS}).provider_options == SECTIONS


def test_nothing_is_searched_for_while_a_chat_plans():
    found = requested({"provider_options": SECTIONS}, PlanMode.PLAN).provider_options
    assert found == {"openai": {"search_context_size": "low"}, "anthropic": {}}


@pytest.mark.parametrize(("given", "sent"), [({}, DEFAULT_MAX_OUTPUT_TOKENS), (7, 7), (0, 32_000)])
def test_answers_are_bounded(given, sent):
    options = {"max_output_tokens": given} if given != {} else {}
    assert requested(options).max_output_tokens == sent
