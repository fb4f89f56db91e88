"""One turn: from a pending chat to waiting, requires_action or error.

The runner owns the chat while its lease lives. Every write carries the fence, so a runner that
was interrupted or lost its lease can do no harm: its next write is refused and it stops.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import aiohttp
import structlog
from django.db import OperationalError

from chatd.chats import runs
from chatd.chats.models import Chat, Role
from chatd.chats.open_steps import CallState, OpenCall, open_calls
from chatd.chats.runs import Progress
from chatd.chats.selectors import prompt_messages
from chatd.chats.transition import NewMessage, StateConflictError
from chatd.core.clock import now
from chatd.core.context import bind_correlation
from chatd.core.threads import in_database_thread
from chatd.live.backend import LiveBackend
from chatd.live.writer import PartWriter
from chatd.llm.call_config import stored_options
from chatd.llm.errors import LLMError
from chatd.llm.types import FinishReason, Message, Request
from chatd.preferences.registry import CUSTOM_PROMPT
from chatd.preferences.selectors import personal_value
from chatd.providers.prices import PriceList, price_list
from chatd.providers.selectors import ModelCall, UnusableModelError, resolve_model_call
from chatd.tools.batch import Batch, plan
from chatd.tools.registry import Toolset, TurnContext, open_toolset
from chatd.turns.attachments import load_files
from chatd.turns.calling import ModelCaller
from chatd.turns.carrying import TakenAwayError, carry_out_step, in_call_order
from chatd.turns.failures import UNEXPECTED, error_of_call, error_of_setup
from chatd.turns.model_calls import provider_of
from chatd.turns.position import Position
from chatd.turns.prompt import prompt_from, user_instructions
from chatd.turns.step import StepResult

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
    """What a turn reads from the database before its first call.

    `left_over`: calls of the last step that another runner could not answer.
    """

    call: ModelCall
    prices: PriceList
    inserts: tuple[str, ...]
    prompt: tuple[Message, ...]
    left_over: Sequence[OpenCall]
    context: TurnContext


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
        self.is_running = False
        self._backend = backend
        self._session = session
        self._position = Position(chat_id, runner_id, 0, 0)

    async def run(self, chat: Chat) -> None:
        """Work the turn of an acquired chat to its end. Raises CancelledError when stopped."""
        bind_correlation(chat_id=str(chat.pk), runner_id=str(self.runner_id))
        self._position = Position(chat.pk, self.runner_id, chat.history_version, chat.attempt)
        self.is_running = True
        try:
            setup = await in_database_thread(_set_up, chat)
            async with open_toolset(setup.context) as toolset:
                await self._turn(setup, toolset)
        except UnusableModelError as error:
            log.warning("turn cannot start", reason=str(error))
            await self._fail(error_of_setup(error))
        except LLMError as error:
            log.warning("turn failed", kind=str(error.kind), status=error.status_code)
            await self._fail(error_of_call(error))
        except (StateConflictError, TakenAwayError) as error:
            log.info("turn was taken away", reason=str(error))
        except Exception:
            log.exception("turn crashed")
            await self._fail(UNEXPECTED)
        finally:
            self.is_running = False

    async def _fail(self, error: dict[str, Any]) -> None:
        try:
            await in_database_thread(runs.fail, self._position.fence, error)
        except StateConflictError as conflict:
            log.info("turn was taken away", reason=str(conflict))

    async def _turn(self, setup: _Setup, toolset: Toolset) -> None:
        if setup.left_over:
            if await self._finish_step(setup, toolset):
                return
            setup = await self._reloaded(setup)
        caller = ModelCaller(
            self._position,
            provider_of(setup.call, self.chat_id),
            backend=self._backend,
            session=self._session,
            context_limit=setup.call.context_limit,
        )
        for _ in range(MAX_STEPS):
            result, writer = await caller.call(_request(setup, toolset), toolset)
            if await self._end_step(setup, toolset, result, writer):
                return
            setup = await self._reloaded(setup)
        await in_database_thread(runs.finish, self._position.fence)

    async def _reloaded(self, setup: _Setup) -> _Setup:
        prompt = await in_database_thread(_read_prompt, self.chat_id, setup.inserts)
        return replace(setup, prompt=prompt)

    # the end of a step

    async def _end_step(
        self, setup: _Setup, toolset: Toolset, result: StepResult, writer: PartWriter
    ) -> bool:
        """Carry out the calls of a step and store it; True when the turn has ended with it."""
        message = result.message(setup.call.config_id, setup.prices.at(result.called_at))
        if message is None or not result.calls or result.reason is not FinishReason.TOOL_CALLS:
            await self._store(runs.finish, [message] if message else [], writer)
            return True
        return await self._answer_calls(
            setup, toolset, message, plan(result.calls, toolset), writer
        )

    async def _finish_step(self, setup: _Setup, toolset: Toolset) -> bool:
        """Answer what a lost runner left; True when the turn has ended with it."""
        again = [entry.call for entry in setup.left_over if entry.state is CallState.AGAIN]
        of_client = [entry.call for entry in setup.left_over if entry.state is CallState.OF_CLIENT]
        batch = replace(plan(again, toolset), of_client=of_client)
        writer = self._position.writer(self._backend)
        return await self._answer_calls(setup, toolset, None, batch, writer)

    async def _answer_calls(
        self,
        setup: _Setup,
        toolset: Toolset,
        message: NewMessage | None,
        batch: Batch,
        writer: PartWriter,
    ) -> bool:
        """Carry out calls and store their results, behind the message if it is not stored yet."""
        results, is_stopping = dict(batch.refused), False
        if batch.runs_tools:
            await writer.flush()
            results, is_stopping = await carry_out_step(
                self._position.fence,
                message,
                batch,
                toolset,
                has_grace=lambda: self.stop_cause is StopCause.SHUTDOWN,
            )
        messages = [message] if message else []
        for part in in_call_order(batch.calls, results):
            writer.add(Role.TOOL, part)
            messages.append(_tool_message(part, setup.call.config_id))
        change = runs.require_action if batch.of_client else runs.commit_step
        await self._store(change, messages, writer)
        if is_stopping:
            raise asyncio.CancelledError
        return bool(batch.of_client)

    async def _store(
        self,
        change: Callable[..., Progress],
        messages: Sequence[NewMessage],
        writer: PartWriter,
    ) -> None:
        await writer.flush()
        self._position.advance(await _written(change, self._position.fence, messages))
        self.is_running = change is runs.commit_step
        await writer.retire()


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


def _tool_message(part: dict[str, Any], model_config_id: UUID) -> NewMessage:
    return NewMessage(role=Role.TOOL, content=[part], model_config_id=model_config_id)


def _set_up(chat: Chat) -> _Setup:
    inserts = (user_instructions(personal_value(chat.owner_id, CUSTOM_PROMPT)),)
    call = resolve_model_call(chat.last_model_config_id, user_id=chat.owner_id)
    return _Setup(
        call=call,
        prices=price_list(call.config_id, now()),
        inserts=inserts,
        prompt=_read_prompt(chat.pk, inserts),
        left_over=open_calls(chat),
        context=_context_of(chat),
    )


def _context_of(chat: Chat) -> TurnContext:
    return TurnContext(
        chat_id=chat.pk,
        owner_id=chat.owner_id,
        organization_id=chat.organization_id,
        parent_chat_id=chat.parent_chat_id,
        mode=chat.mode,
        plan_mode=chat.plan_mode,
        mcp_server_ids=chat.mcp_server_ids,
        dynamic_tools=chat.dynamic_tools or (),
    )


def _read_prompt(chat_id: UUID, inserts: tuple[str, ...]) -> tuple[Message, ...]:
    rows = prompt_messages(chat_id)
    return prompt_from(rows, load_files(rows), inserts)


def _request(setup: _Setup, toolset: Toolset) -> Request:
    options = stored_options(setup.call.options)
    return Request(
        model=setup.call.model,
        messages=setup.prompt,
        tools=toolset.specs,
        max_output_tokens=options.get("max_output_tokens") or DEFAULT_MAX_OUTPUT_TOKENS,
        provider_options=options.get("provider_options") or {},
        **{name: options[name] for name in _SAMPLING if options.get(name) is not None},
    )
