"""What a turn sends to its model: the history of the chat, and the options of the model.

Belongs here: reading both, once per call. Does not belong here: how rows become messages
(`prompt`), what may be left out of them (`chain`), the call itself (`calling`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chatd.chats.models import PlanMode
from chatd.chats.selectors import PromptRow, prompt_messages
from chatd.llm.call_config import stored_options
from chatd.llm.types import Message, Request, ToolSpec
from chatd.providers.selectors import ModelCall
from chatd.turns.attachments import Block, load_files
from chatd.turns.compaction import LastStep, last_step
from chatd.turns.model_calls import DEFAULT_MAX_OUTPUT_TOKENS, is_of_anthropic
from chatd.turns.prompt import prompt_from, sanitised

_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class History:
    """What a chat holds for the model: as it is stored, and as it is sent.

    `last_step` is what it ends with, unless a message came after it.
    """

    rows: Sequence[PromptRow]
    files: Mapping[UUID, Block]
    prompt: tuple[Message, ...]
    last_step: LastStep | None


def read_history(chat_id: UUID, call: ModelCall, inserts: tuple[str, ...]) -> History:
    """Read the history of a chat for a model; `inserts` are texts that are not stored."""
    rows = prompt_messages(chat_id)
    files = load_files(rows)
    prompt = prompt_from(rows, files, inserts)
    if is_of_anthropic(call):
        prompt = sanitised(prompt)
    return History(rows, files, prompt, last_step(rows))


def request_of(
    call: ModelCall,
    messages: tuple[Message, ...],
    tools: tuple[ToolSpec, ...],
    plan_mode: str | None,
) -> Request:
    """Return the request of a step that sends these messages."""
    options = stored_options(call.options)
    return Request(
        model=call.model,
        messages=messages,
        tools=tools,
        max_output_tokens=options.get("max_output_tokens") or DEFAULT_MAX_OUTPUT_TOKENS,
        provider_options=_provider_options(options, plan_mode),
        **{name: options[name] for name in _SAMPLING if options.get(name) is not None},
    )


def _provider_options(options: Mapping[str, Any], plan_mode: str | None) -> Mapping[str, Any]:
    """Return the options of providers; nothing is searched for while a chat plans."""
    sections: Mapping[str, Any] = options.get("provider_options") or {}
    if plan_mode != PlanMode.PLAN:
        return sections
    return {
        name: {key: value for key, value in section.items() if key != "web_search_enabled"}
        for name, section in sections.items()
    }
