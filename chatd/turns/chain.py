"""Going on from the last answer that the provider keeps, instead of sending it all (engine 8.8).

Belongs here: when a turn may, what is sent then, and what is sent once the provider turns out to
have forgotten. Does not belong here: retries (`calling`), the wire.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from chatd.chats.models import PlanMode, Role
from chatd.chats.selectors import PromptRow
from chatd.llm.providers import Wire
from chatd.llm.types import (
    AssistantBlock,
    AssistantMessage,
    FileBlock,
    Message,
    Provider,
    ReasoningBlock,
    Request,
    SystemMessage,
    UserMessage,
)
from chatd.llm.wires.choice import wire_of
from chatd.llm.wires.responses.options import is_stored
from chatd.providers.selectors import ModelCall
from chatd.turns.attachments import Block
from chatd.turns.prompt import prompt_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What stands in for a history: the answer that it ends with, and what was said since."""

    response_id: str
    said_since: tuple[Message, ...]

    def applied_to(self, request: Request) -> Request:
        """Return the request with its system messages and what was said since alone."""
        systems = (each for each in request.messages if isinstance(each, SystemMessage))
        return replace(
            request,
            messages=(*systems, *self.said_since),
            previous_response_id=self.response_id,
        )


def chain_of(
    rows: Sequence[PromptRow],
    files: Mapping[UUID, Block],
    call: ModelCall,
    request: Request,
    *,
    plan_mode: str | None,
) -> Chain | None:
    """Return what the first call of a turn goes on from; None when it has to send it all.

    `request` is that call as it would be without a chain.
    """
    if plan_mode == PlanMode.PLAN or not _is_kept(call, request):
        return None
    answer, since = _split(rows)
    if answer is None or not answer.provider_response_id or _has_open_calls(answer):
        return None
    if answer.model_config_id != call.config_id:
        return None
    messages = prompt_from(since, files)
    said = tuple(each for each in messages if isinstance(each, UserMessage))
    return Chain(response_id=answer.provider_response_id, said_since=said) if said else None


def unlinked(request: Request) -> Request:
    """Return the request without anything that only the provider could know or read."""
    messages = tuple(
        AssistantMessage(blocks=tuple(_plain(message.blocks)))
        if isinstance(message, AssistantMessage)
        else message
        for message in request.messages
    )
    return replace(request, messages=messages, previous_response_id=None)


def _plain(blocks: Iterable[AssistantBlock]) -> Iterable[AssistantBlock]:
    for block in blocks:
        if isinstance(block, FileBlock) or block.provider_metadata is None:
            yield block
        elif not isinstance(block, ReasoningBlock) or block.text:
            yield replace(block, provider_metadata=None)


def _is_kept(call: ModelCall, request: Request) -> bool:
    """Tell whether the provider keeps answers to such a call, under ids that requests may name."""
    wire = wire_of(Provider(kind=call.provider_type, base_url=call.base_url), request.model)
    return wire is Wire.OPENAI_RESPONSES and is_stored(request)


def _split(rows: Sequence[PromptRow]) -> tuple[PromptRow | None, Sequence[PromptRow]]:
    """Return the answer that the history ends with, and the user's rows behind it."""
    at = len(rows)
    while at and rows[at - 1].role == Role.USER:
        at -= 1
    since = rows[at:]
    while at and rows[at - 1].role == Role.TOOL:
        at -= 1
    last = rows[at - 1] if at else None
    return (last if last and last.role == Role.ASSISTANT else None), since


def _has_open_calls(answer: PromptRow) -> bool:
    """Tell whether the provider may wait for results: it was told of none after its answer."""
    return not isinstance(answer.content, list) or any(map(_is_local_call, answer.content))


def _is_local_call(part: Any) -> bool:
    if not isinstance(part, dict):
        return True
    return part.get("type") == "tool-call" and not part.get("provider_executed")
