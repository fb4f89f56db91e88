"""Calls of a model without a stream, for a few words about a chat.

Belongs here: one call with its retries and its cost, and several models one after the other. Does
not belong here: the words (`title_text`, `label_text`), storing what came back.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol
from uuid import UUID

import aiohttp
import structlog

from chatd.chats.debug_models import DebugOperation, DebugRunKind
from chatd.chats.models import Chat, Role, Visibility
from chatd.chats.new_messages import NewMessage
from chatd.core.clock import now
from chatd.core.threads import in_database_thread
from chatd.llm.client import complete
from chatd.llm.errors import LLMError
from chatd.llm.types import Answer, Provider, Request
from chatd.providers.prices import price_at, prices_at
from chatd.providers.pricing import Prices
from chatd.providers.selectors import ModelCall, UnusableModelError
from chatd.spending.holds import Hold, HoldRefusedError
from chatd.spending.ledger_models import CallKind
from chatd.turns.debugging import NOT_RECORDED, RunRecorder, StepRecorder, recorded_run
from chatd.turns.model_calls import MAX_ATTEMPTS, back_off_seconds, provider_of
from chatd.turns.side_holds import give_back, hold_for
from chatd.turns.step import step_usage
from chatd.turns.traces import model_span

log = structlog.get_logger(__name__)

_NAMES_OF_SCHEMAS = (
    "response_format",
    "response format",
    "json_schema",
    "text.format",
    "tool_choice",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that may be asked, and what it takes."""

    call: ModelCall
    prices: Prices


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortAnswer:
    """What a model said, and the hidden row of its cost; None when no tokens were told."""

    text: str
    cost: NewMessage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What several models were good for: the words, empty if there are none, and all costs."""

    text: str
    costs: Sequence[NewMessage]


def candidates(models: Iterable[ModelCall]) -> list[Candidate]:
    """Return the models that can be called, in their order, each once."""
    calls: dict[UUID, ModelCall] = {}
    try:
        for call in models:
            calls.setdefault(call.config_id, call)
    except UnusableModelError as error:
        log.warning("a model for short calls cannot be used", reason=str(error))
    prices = prices_at(calls, now()) if calls else {}
    return [
        Candidate(call=call, prices=prices.get(config_id, Prices()))
        for config_id, call in calls.items()
    ]


def candidate_of(call: ModelCall) -> Candidate:
    """Return one model with what it takes now."""
    return Candidate(call=call, prices=price_at(call.config_id, now()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one model after the other is asked about a chat, until `read` finds words.

    While the chat `is_recorded`, each model that is asked makes a debug run of the `kind`.
    """

    chat: Chat
    request: Request
    asked: Sequence[Candidate]
    read: Callable[[str], str]
    kind: DebugRunKind
    call_kind: CallKind
    is_recorded: bool


class Asker(Protocol):
    """Asks a question within `seconds`."""

    async def __call__(self, question: Question, *, seconds: float) -> Words: ...


async def first_words(
    question: Question, *, deadline: float, session: aiohttp.ClientSession
) -> Words:
    """Ask a question until `deadline`, a time of the loop's clock.

    Each model has an equal share of what is left, so that one that hangs leaves time to the next.
    """
    clock = asyncio.get_running_loop().time
    costs: list[NewMessage] = []
    for position, candidate in enumerate(question.asked):
        seconds = (deadline - clock()) / (len(question.asked) - position)
        try:
            answer = await _asked(question, candidate, seconds, session)
        except LLMError as error:
            log.info("no words came", model=candidate.call.model, kind=str(error.kind))
            continue
        except HoldRefusedError as refused:
            log.info("no words came", model=candidate.call.model, reason=str(refused))
            continue
        costs += [answer.cost] if answer.cost else []
        if words := question.read(answer.text):
            return Words(text=words, costs=costs)
        log.info("the words are not usable", model=candidate.call.model)
    return Words(text="", costs=costs)


async def _asked(
    question: Question, candidate: Candidate, seconds: float, session: aiohttp.ClientSession
) -> ShortAnswer:
    chat, call = question.chat, candidate.call
    take = partial(hold_for, call, candidate.prices, chat, question.call_kind, seconds=seconds)
    hold = await in_database_thread(take, question.request)
    with recorded_run(chat, call, question.kind, enabled=question.is_recorded) as run:
        try:
            answer = await ask(
                candidate,
                chat.pk,
                question.request,
                kind=question.call_kind,
                hold=hold,
                seconds=seconds,
                session=session,
                debug=run,
            )
        except LLMError:
            await in_database_thread(give_back, hold)
            raise
    if answer.cost is None:
        await in_database_thread(give_back, hold)
    return answer


async def ask(
    candidate: Candidate,
    chat_id: UUID,
    request: Request,
    *,
    kind: CallKind,
    hold: Hold,
    seconds: float,
    session: aiohttp.ClientSession | None = None,
    debug: RunRecorder = NOT_RECORDED,
) -> ShortAnswer:
    """Ask one model, within `seconds` and with retries; `hold` is kept by the caller.

    Raises LLMError.
    """
    call, started = candidate.call, time.monotonic()
    request, provider = replace(request, model=call.model), provider_of(call, chat_id)
    with debug.step(request, provider, DebugOperation.GENERATE) as step:
        answer = await _answer(chat_id, request, provider, seconds, session, step)
        step.answered(answer)
    cost = NewMessage(
        role=Role.ASSISTANT,
        content=[],
        visibility=Visibility.MODEL,
        model_config_id=call.config_id,
        usage=step_usage(answer.usage, call.context_limit),
        prices=hold.prices,
        runtime_ms=int((time.monotonic() - started) * 1000),
        hold_id=hold.id,
        call_kind=kind,
    )
    return ShortAnswer(text=answer.text, cost=cost if answer.usage else None)


async def _answer(
    chat_id: UUID,
    request: Request,
    provider: Provider,
    seconds: float,
    session: aiohttp.ClientSession | None,
    step: StepRecorder,
) -> Answer:
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    failures = 0
    while True:
        try:
            with model_span(request, provider, chat_id, streams=False) as traced:
                answer = await complete(
                    request,
                    provider,
                    seconds=deadline - clock(),
                    session=session,
                    observer=step.observer,
                )
                traced.answered(answer)
            return answer
        except LLMError as error:
            if request.output and _knows_no_schemas(error):
                request = replace(request, output=None)
                step.retries(error, 0)
                continue
            failures += 1
            delay = back_off_seconds(error, failures)
            # a pause that ends too late would only keep a person from the reason
            too_late = clock() + delay >= deadline
            if too_late or failures == MAX_ATTEMPTS or not error.retryable:
                raise
            step.retries(error, delay)
        await asyncio.sleep(delay)


def _knows_no_schemas(error: LLMError) -> bool:
    """Tell whether a server refused the schema of the answer; without one it may well answer.

    Where a schema is a tool that has to be called, some models refuse that.
    """
    words = error.detail.lower()
    about = any(name in words for name in _NAMES_OF_SCHEMAS)
    return about and error.status_code in (400, 422)
