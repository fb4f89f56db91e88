"""One turn: from a pending chat to waiting, requires_action or error.

The runner owns the chat while its lease lives. Every write carries the fence, so a runner that
was interrupted or lost its lease can do no harm: its next write is refused and it stops.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import aiohttp
import structlog
from django.db import OperationalError

from chatd.chats import runs
from chatd.chats.models import Chat, Role
from chatd.chats.parts import error_result
from chatd.chats.runs import Fence, Progress
from chatd.chats.selectors import prompt_messages
from chatd.chats.transition import NewMessage, StateConflictError
from chatd.core.clock import now
from chatd.core.context import bind_correlation
from chatd.core.threads import in_database_thread
from chatd.live.backend import LiveBackend
from chatd.live.messages import Episode
from chatd.live.writer import PartWriter
from chatd.llm import client as llm
from chatd.llm.call_config import stored_options
from chatd.llm.errors import LLMError
from chatd.llm.types import FinishReason, Message, Request, ToolSpec
from chatd.preferences.registry import CUSTOM_PROMPT
from chatd.preferences.selectors import personal_value
from chatd.providers.prices import PriceList, price_list
from chatd.providers.selectors import ModelCall, UnusableModelError, resolve_model_call
from chatd.turns.attachments import load_files
from chatd.turns.failures import UNEXPECTED, error_of_call, error_of_setup, retry_notice
from chatd.turns.model_calls import MAX_ATTEMPTS, back_off_seconds, provider_of
from chatd.turns.prompt import client_tools, prompt_from, user_instructions
from chatd.turns.step import StepCollector, StepResult
from config.env import env

log = structlog.get_logger(__name__)

MAX_STEPS = 1200
DEFAULT_MAX_OUTPUT_TOKENS = 32_000

_WRITE_PAUSES = (0.5, 1, 2, 4)
"""Seconds between tries to store a step; together well within a lease."""

_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")


class StopCause(StrEnum):
    """Why a turn was cancelled from outside."""

    INTERRUPTED = "interrupted"
    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a turn reads from the database before its first call."""

    call: ModelCall
    prices: PriceList
    inserts: tuple[str, ...]
    prompt: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]


class TurnRunner:
    """Runs one turn of one chat.

    `stop_cause` is set by whoever cancels the task; `is_running` tells that a lease is held.
    """

    def __init__(
        self, chat_id: UUID, runner_id: UUID, backend: LiveBackend, session: aiohttp.ClientSession
    ) -> None:
        self.chat_id = chat_id
        self.runner_id = runner_id
        self.stop_cause: StopCause | None = None
        self._backend = backend
        self._session = session
        self._history_version = 0
        self._attempt = 0
        self.is_running = False

    @property
    def _fence(self) -> Fence:
        return Fence(
            chat_id=self.chat_id, runner_id=self.runner_id, history_version=self._history_version
        )

    async def run(self, chat: Chat) -> None:
        """Work the turn of an acquired chat to its end. Raises CancelledError when stopped."""
        bind_correlation(chat_id=str(chat.pk), runner_id=str(self.runner_id))
        self._history_version, self._attempt = chat.history_version, chat.attempt
        self.is_running = True
        try:
            await self._steps(await in_database_thread(_set_up, chat))
        except UnusableModelError as error:
            log.warning("turn cannot start", reason=str(error))
            await self._fail(error_of_setup(error))
        except LLMError as error:
            log.warning("turn failed", kind=str(error.kind), status=error.status_code)
            await self._fail(error_of_call(error))
        except StateConflictError as error:
            log.info("turn was taken away", reason=str(error))
        except Exception:
            log.exception("turn crashed")
            await self._fail(UNEXPECTED)
        finally:
            self.is_running = False

    async def _fail(self, error: dict[str, Any]) -> None:
        try:
            await in_database_thread(runs.fail, self._fence, error)
        except StateConflictError as conflict:
            log.info("turn was taken away", reason=str(conflict))

    async def _steps(self, setup: _Setup) -> None:
        for _ in range(MAX_STEPS):
            result, writer = await self._call(setup)
            ended = await self._store(setup, result, writer)
            if ended:
                return
            prompt = await in_database_thread(_read_prompt, self.chat_id, setup.inserts)
            setup = replace(setup, prompt=prompt)
        await in_database_thread(runs.finish, self._fence)

    # the model call

    async def _call(self, setup: _Setup) -> tuple[StepResult, PartWriter]:
        """Call the model until it answers. Raises LLMError for a failure that is final."""
        for failures in range(1, MAX_ATTEMPTS + 1):
            writer = PartWriter(
                self._backend,
                self.chat_id,
                Episode(self._history_version, self._attempt),
                window_seconds=env.flush_window_seconds,
            )
            try:
                return await self._attempt_call(setup, writer), writer
            except LLMError as error:
                if not error.retryable or failures == MAX_ATTEMPTS:
                    raise
                writer.stop_timer()
                await self._back_off(error, failures)
            finally:
                writer.stop_timer()
        raise AssertionError("unreachable")

    async def _attempt_call(self, setup: _Setup, writer: PartWriter) -> StepResult:
        collector = StepCollector(writer, context_limit=setup.call.context_limit)
        events = llm.stream(
            _request(setup),
            provider_of(setup.call, self.chat_id),
            session=self._session,
            silence_seconds=env.stream_silence_seconds,
        )
        async with aclosing(events):
            async for event in events:
                collector.add(event)
                if collector.is_full:
                    break
        return collector.result()

    async def _back_off(self, error: LLMError, failures: int) -> None:
        delay = back_off_seconds(error, failures)
        log.warning("model call failed", attempt=failures, kind=str(error.kind), retry_in=delay)
        notice = retry_notice(error, attempt=failures, delay_seconds=delay)
        self._advance(await in_database_thread(runs.record_retry, self._fence, notice))
        await asyncio.sleep(delay)

    # storing a step

    async def _store(self, setup: _Setup, result: StepResult, writer: PartWriter) -> bool:
        """Store a step; returns True when the turn has ended with it."""
        messages = result.message(setup.call.config_id, setup.prices.at(result.called_at))
        goes_on = bool(result.calls) and result.reason is FinishReason.TOOL_CALLS
        declared = {tool.name for tool in setup.tools}
        waits = goes_on and any(call["tool_name"] in declared for call in result.calls)
        refused = [call for call in result.calls if call["tool_name"] not in declared]
        if goes_on:
            messages += self._refuse(refused, writer, setup.call.config_id)
        await writer.flush()
        change = runs.require_action if waits else runs.commit_step if goes_on else runs.finish
        ended = waits or not goes_on
        self._advance(await _written(change, self._fence, messages))
        self.is_running = not ended
        await writer.retire()
        return ended

    def _refuse(
        self, calls: list[dict[str, Any]], writer: PartWriter, model_config_id: UUID
    ) -> list[NewMessage]:
        """Answer calls of tools that this turn does not have; the model reads the error."""
        messages = []
        for call in calls:
            reason = f"Tool not active in this turn: {call['tool_name']}"
            result = error_result(call, {"error": reason})
            writer.add(Role.TOOL, result)
            messages.append(
                NewMessage(role=Role.TOOL, content=[result], model_config_id=model_config_id)
            )
        return messages

    def _advance(self, progress: Progress) -> None:
        self._history_version, self._attempt = progress.history_version, progress.attempt


async def _written(change: Callable[..., Progress], *args: Any) -> Progress:
    """Store what a model call produced; it is paid for, so a database that is away is waited for.

    Doing it twice is safe: after a write that did succeed the fence refuses the next one.
    """
    for pause in _WRITE_PAUSES:
        try:
            return await in_database_thread(change, *args)
        except OperationalError as error:
            log.warning("step not stored yet", error=str(error), retry_in=pause)
            await asyncio.sleep(pause)
    return await in_database_thread(change, *args)


def _set_up(chat: Chat) -> _Setup:
    inserts = (user_instructions(personal_value(chat.owner_id, CUSTOM_PROMPT)),)
    call = resolve_model_call(chat.last_model_config_id, user_id=chat.owner_id)
    return _Setup(
        call=call,
        prices=price_list(call.config_id, now()),
        inserts=inserts,
        prompt=_read_prompt(chat.pk, inserts),
        tools=client_tools(chat.dynamic_tools),
    )


def _read_prompt(chat_id: UUID, inserts: tuple[str, ...]) -> tuple[Message, ...]:
    rows = prompt_messages(chat_id)
    return prompt_from(rows, load_files(rows), inserts)


def _request(setup: _Setup) -> Request:
    options = stored_options(setup.call.options)
    return Request(
        model=setup.call.model,
        messages=setup.prompt,
        tools=setup.tools,
        max_output_tokens=options.get("max_output_tokens") or DEFAULT_MAX_OUTPUT_TOKENS,
        provider_options=options.get("provider_options") or {},
        **{name: options[name] for name in _SAMPLING if options.get(name) is not None},
    )
