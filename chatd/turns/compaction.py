"""Compaction of a chat inside its turn: when history is summarised, the call, what is stored.

A summary stands for everything before it in later prompts; the rows it stands for stay, and so can
be shown again, or come back when the history is cut before the summary. What is known of the last
step is read from the history, so that a runner that takes a turn over goes on where the lost one
was: neither is a compaction forgotten, nor is the model asked again after its last word.

Belongs here: the decision, the summary call, its rows and streamed parts. Does not belong here:
the words (`summary_text`), the transaction (`chats.runs.compact`), calling tools.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

import aiohttp
import structlog
from django.db import DatabaseError

from chatd.chats import runs
from chatd.chats.debug_models import DebugOperation, DebugRunKind
from chatd.chats.models import ChatMessage, Role, Visibility
from chatd.chats.new_messages import NewMessage, StepUsage
from chatd.chats.parts import SUMMARY_TOOL, ToolCallPart, error_result, result_of, to_stored
from chatd.chats.selectors import PromptRow
from chatd.core.clock import now, rfc3339
from chatd.core.metrics import count_compaction
from chatd.live.backend import LiveBackend
from chatd.llm.client import complete
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import Answer, Message, Provider, Request
from chatd.providers.selectors import ModelCall
from chatd.spending.holds import HoldRefusedError
from chatd.spending.ledger_models import CallKind
from chatd.turns.debugging import RunRecorder
from chatd.turns.position import Position
from chatd.turns.purse import Purse
from chatd.turns.step import step_usage
from chatd.turns.storing import stored
from chatd.turns.summary_text import (
    CHARACTERS_PER_TOKEN,
    cleaned_summary,
    summary_prompt,
    text_for_model,
)
from chatd.turns.traces import model_span

log = structlog.get_logger(__name__)

SUMMARY_SECONDS = 90.0
MAX_REENTRIES = 3
DEFAULT_THRESHOLD = 70
NEVER = 100
SOURCE = "automatic"

EMPTY_SUMMARY = "The model wrote no summary."
NOT_STORED = "The summary could not be stored."


class Next(StrEnum):
    """What a turn does after its last step was looked at."""

    GO_ON = "go_on"
    RELOAD = "reload"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastStep:
    """The step that a history ends with, in tokens. `added`: an estimate of what came after it.

    `is_final`: nothing came after it, and nothing was asked for.
    """

    tokens: int
    limit: int
    added: int = 0
    is_final: bool = False

    @property
    def usage_percent(self) -> float:
        return self.tokens * 100 / self.limit


def threshold_percent(own: int | None, configured: int) -> int:
    """Return the percent of the context at which history is summarised; 100 is never.

    `own` is what the owner of the chat has chosen for the model (engine 12.2).
    """
    chosen = configured if own is None else own
    return chosen if 0 <= chosen <= NEVER else DEFAULT_THRESHOLD


def context_tokens(usage: StepUsage) -> int:
    """Return how many tokens a call has read, 0 where the provider did not say (engine 12.1)."""
    read = (usage.input_tokens, usage.cache_read_tokens, usage.cache_creation_tokens)
    return sum(tokens or 0 for tokens in read) or usage.total_tokens or 0


def is_due(step: LastStep, threshold: int) -> bool:
    """Tell whether history is to be summarised after a step.

    It is when the context is as full as the threshold says, and when what came after the step can
    not fit beside what was read.
    """
    if threshold >= NEVER or step.tokens <= 0 or step.limit <= 0:
        return False
    return step.tokens * 100 >= threshold * step.limit or excess_of(step) > 0


def excess_of(step: LastStep) -> int:
    """Return by how many tokens, by estimate, the next prompt is longer than the context."""
    return step.tokens + step.added - step.limit if step.added else 0


def is_due_after(usage: StepUsage, threshold: int) -> bool:
    """Tell whether history is to be summarised after the model's last word."""
    return is_due(_final_step(usage), threshold)


def last_step(rows: Sequence[PromptRow]) -> LastStep | None:
    """Return the step that the rows of a prompt end with; None when a message came after it."""
    results = added = 0
    for row in reversed(rows):
        if row.role == Role.TOOL:
            results += 1
            added += sum(_length(part) for part in row.content or [])
            continue
        if row.role != Role.ASSISTANT:
            return None
        usage = _usage_of(row.pk)
        if usage is None or not results:
            return _final_step(usage) if usage else None
        said = usage.output_tokens or 0
        return LastStep(
            tokens=context_tokens(usage),
            limit=usage.context_limit or 0,
            added=said + added // CHARACTERS_PER_TOKEN,
        )
    return None


def _final_step(usage: StepUsage) -> LastStep:
    return LastStep(tokens=context_tokens(usage), limit=usage.context_limit or 0, is_final=True)


def _length(part: dict[str, Any]) -> int:
    """Return the characters of a stored result; how many tokens media take is not known."""
    result = part.get("result")
    if part.get("is_media") and isinstance(result, dict):
        result = result.get("text")
    return len(str(result or ""))


def _usage_of(message_id: int) -> StepUsage | None:
    names = tuple(StepUsage.__dataclass_fields__)
    values = ChatMessage.objects.filter(pk=message_id).values(*names).first()
    return StepUsage(**values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """What the model answered, empty if that was nothing, and the hidden row of its cost."""

    text: str
    cost: NewMessage | None


class Compactor:
    """Summarises the history of one turn, when it is time to."""

    def __init__(
        self,
        position: Position,
        provider: Provider,
        *,
        backend: LiveBackend,
        session: aiohttp.ClientSession,
        call: ModelCall,
        purse: Purse,
        threshold: int,
        debug: RunRecorder,
    ) -> None:
        self._position = position
        self._provider = provider
        self._backend = backend
        self._session = session
        self._call = call
        self._purse = purse
        self._threshold = threshold
        self._debug = debug
        self._has_compacted = False
        self._reentries = 0
        self._call_id = _new_call_id()

    async def after(self, step: LastStep | None, prompt: Sequence[Message]) -> Next:
        """Look at the step that the history ends with, summarise if it is time, say what is next.

        After the model's last word a failure is followed by one more try, and a summary by
        another call of the model, at most `MAX_REENTRIES` times in a turn (engine 12.3).

        Raises StateConflictError when the turn was taken away.
        """
        if step is None:
            return Next.GO_ON
        tries = 2 if step.is_final and not self._has_compacted else 1
        done = False
        if is_due(step, self._threshold):
            for _ in range(tries):
                done = done or await self._compact(step, prompt)
        if not step.is_final:
            return Next.RELOAD if done else Next.GO_ON
        if not done or self._reentries == MAX_REENTRIES:
            return Next.END
        self._reentries += 1
        return Next.RELOAD

    async def _compact(self, step: LastStep, prompt: Sequence[Message]) -> bool:
        """Summarise and store; False when that failed, and the turn goes on as it was."""
        call = {"tool_call_id": self._call_id, "tool_name": SUMMARY_TOOL}
        begun_at = rfc3339(now())
        writer = self._position.writer(self._backend)
        writer.add(Role.ASSISTANT, {"type": "tool-call", **call})
        await writer.flush()
        try:
            summary = await self._summary(step, prompt)
        except LLMError as error:
            outcome = "timeout" if error.kind is ErrorKind.STARTUP_TIMEOUT else "error"
            log.warning("history not summarised", outcome=outcome, kind=str(error.kind))
            self._count(outcome)
            return False
        except HoldRefusedError as refused:
            log.warning("history not summarised", outcome="error", reason=str(refused))
            self._count("error")
            return False
        made = self._messages(step, summary.text, begun_at) if summary.text else []
        failure = "" if made else EMPTY_SUMMARY
        try:
            progress = await stored(runs.compact, self._position.fence, made, summary.cost)
        except DatabaseError as error:
            log.warning("summary not stored", error=str(error))
            made, failure = [], failure or NOT_STORED
        else:
            self._position.advance(progress)
        if not made:
            log.warning("history not summarised", outcome="error", reason=failure)
            self._count("error")
            writer.add(Role.TOOL, error_result(call, {"error": failure}))
            await writer.flush()
            return False
        await writer.retire()
        await self._show_result(made[-1].content[0])
        self._has_compacted = True
        self._call_id = _new_call_id()
        log.info("history summarised", outcome="success", context_tokens=step.tokens)
        self._count("success")
        return True

    def _count(self, outcome: str) -> None:
        count_compaction(self._call.provider_type, self._call.model, outcome)

    async def _summary(self, step: LastStep, prompt: Sequence[Message]) -> _Summary:
        """Ask the model of the turn, once, with no options but its name.

        Raises LLMError, HoldRefusedError.
        """
        started = time.monotonic()
        excess = excess_of(step)
        request = Request(
            model=self._call.model, messages=summary_prompt(prompt, excess_tokens=excess)
        )
        request, hold = await self._purse.admit(request, kind=CallKind.COMPACTION)
        try:
            answer = await self._answer(request)
        except LLMError:
            await self._purse.failed(hold)
            raise
        cost = NewMessage(
            role=Role.ASSISTANT,
            content=[],
            visibility=Visibility.MODEL,
            model_config_id=self._call.config_id,
            usage=step_usage(answer.usage, self._call.context_limit),
            prices=hold.prices,
            runtime_ms=int((time.monotonic() - started) * 1000),
            hold_id=hold.id,
            call_kind=CallKind.COMPACTION,
        )
        if not answer.usage:
            await self._purse.failed(hold)
        text = cleaned_summary(answer.text, context_limit=step.limit)
        return _Summary(text=text, cost=cost if answer.usage else None)

    async def _answer(self, request: Request) -> Answer:
        with (
            self._debug.beside(DebugRunKind.COMPACTION) as run,
            run.step(request, self._provider, DebugOperation.GENERATE) as step,
            model_span(request, self._provider, self._position.chat_id, streams=False) as traced,
        ):
            answer = await complete(
                request,
                self._provider,
                seconds=SUMMARY_SECONDS,
                session=self._session,
                observer=step.observer,
            )
            step.answered(answer)
            traced.answered(answer)
        return answer

    def _messages(self, step: LastStep, summary: str, begun_at: str) -> list[NewMessage]:
        """Return the summary for the model, and the call and the result that people see."""
        about = {"source": SOURCE, "threshold_percent": self._threshold}
        call = ToolCallPart(
            tool_call_id=self._call_id, tool_name=SUMMARY_TOOL, args=about, created_at=begun_at
        )
        [shown] = to_stored([call])
        result = {
            "summary": summary,
            **about,
            "usage_percent": step.usage_percent,
            "context_tokens": step.tokens,
            "context_limit_tokens": step.limit,
        }
        text = {"type": "text", "text": text_for_model(summary)}
        return [
            self._row(Role.USER, text, Visibility.MODEL),
            self._row(Role.ASSISTANT, shown, Visibility.USER),
            self._row(Role.TOOL, result_of(shown, result), Visibility.BOTH),
        ]

    def _row(self, role: Role, part: dict[str, Any], visibility: Visibility) -> NewMessage:
        return NewMessage(
            role=role,
            content=[part],
            visibility=visibility,
            model_config_id=self._call.config_id,
            compressed=True,
        )

    async def _show_result(self, part: dict[str, Any]) -> None:
        """Stream the result, behind the stored messages, into the episode that they began."""
        writer = self._position.writer(self._backend)
        writer.add(Role.TOOL, part)
        await writer.flush()


def _new_call_id() -> str:
    return f"{SUMMARY_TOOL}_{uuid4()}"
