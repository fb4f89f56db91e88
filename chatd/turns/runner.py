"""One turn: from a pending chat to waiting, requires_action or error.

The runner owns the chat while its lease lives. Every write carries the fence, so a runner that
was interrupted or lost its lease can do no harm: its next write is refused and it stops.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

import aiohttp
import structlog

from chatd.chats import runs
from chatd.chats.debug_models import DebugRunKind
from chatd.chats.models import Chat, Role
from chatd.chats.new_messages import NewMessage
from chatd.chats.open_steps import CallState, OpenCall, open_calls
from chatd.chats.runs import Progress
from chatd.chats.summaries import FINISHED
from chatd.chats.transition import StateConflictError
from chatd.core.clock import now
from chatd.core.context import bind_correlation, take_cause
from chatd.core.outages import DATABASE_AWAY, report_outage
from chatd.core.threads import in_database_thread
from chatd.core.tracing import NO_SPAN
from chatd.live.backend import LiveBackend
from chatd.live.writer import PartWriter
from chatd.llm.errors import LLMError
from chatd.llm.types import FinishReason, Message, Provider
from chatd.mcp.selectors import server_ids_of
from chatd.preferences.debug_logging import records_for
from chatd.preferences.registry import COMPACTION_THRESHOLD, CUSTOM_PROMPT, PERSONAL_DEBUG_LOGGING
from chatd.preferences.selectors import personal_values
from chatd.providers.prices import PriceList, price_list
from chatd.providers.selectors import ModelCall, UnusableModelError, resolve_model_call
from chatd.spending.holds import HoldRefusedError
from chatd.tools.batch import Batch, plan
from chatd.tools.registry import Toolset, TurnContext, open_toolset
from chatd.turns.calling import ModelCaller
from chatd.turns.carrying import TakenAwayError, carry_out_step, in_call_order
from chatd.turns.chain import Chain, chain_of
from chatd.turns.compaction import (
    Compactor,
    LastStep,
    Next,
    is_due_after,
    threshold_percent,
)
from chatd.turns.debugging import RunRecorder, recorded_run
from chatd.turns.failures import (
    OUT_OF_MONEY,
    UNEXPECTED,
    error_of_call,
    error_of_limit,
    error_of_setup,
)
from chatd.turns.history import read_history, request_of
from chatd.turns.model_calls import provider_of
from chatd.turns.position import Position
from chatd.turns.prompt import user_instructions
from chatd.turns.purse import Purse
from chatd.turns.step import StepResult
from chatd.turns.storing import stored
from chatd.turns.tool_metrics import count_result
from chatd.turns.traces import turn_span
from config.env import env

log = structlog.get_logger(__name__)

MAX_STEPS = 1200

MOST_ATTEMPTS = 30
"""Attempts of one step, after which a turn that loses the database is not tried again."""

DATABASE_LOST = "The database was not available; the turn goes on."


class StopCause(StrEnum):
    """Why a turn was cancelled from outside."""

    INTERRUPTED = "interrupted"
    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a turn reads from the database before its first call.

    `left_over`: calls of the last step that another runner could not answer. `chain` is of the
    first call alone.
    """

    call: ModelCall
    prices: PriceList
    inserts: tuple[str, ...]
    prompt: tuple[Message, ...]
    last_step: LastStep | None
    chain: Chain | None
    threshold: int
    left_over: Sequence[OpenCall]
    context: TurnContext
    is_recorded: bool


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
        self._span = NO_SPAN

    @property
    def latest(self) -> Progress | None:
        """What the runner's last write came to: the outcome of a turn that has ended well."""
        return self._position.latest

    async def run(self, chat: Chat) -> None:
        """Work the turn of an acquired chat to its end. Raises CancelledError when stopped."""
        cause = take_cause(chat.pk)
        bind_correlation(
            correlation_id=cause.correlation_id,
            chat_id=str(chat.pk),
            runner_id=str(self.runner_id),
        )
        self._position = Position(chat.pk, self.runner_id, chat.history_version, chat.attempt)
        self.is_running = True
        try:
            with turn_span(self, chat, cause) as self._span:
                await self._run(chat)
        except DATABASE_AWAY as error:
            report_outage(error, during="a turn")
            await self._hand_back()
        finally:
            self.is_running = False

    async def _run(self, chat: Chat) -> None:
        try:
            setup = await in_database_thread(_set_up, chat)
            with self._recorded(chat, setup) as debug:
                async with open_toolset(setup.context) as toolset:
                    await self._turn(setup, toolset, debug)
        except UnusableModelError as error:
            log.warning("turn cannot start", reason=str(error))
            await self._fail(error_of_setup(error))
        except LLMError as error:
            kind, status = str(error.kind), error.status_code
            log.warning("turn failed", kind=kind, status=status, detail=error.detail)
            await self._fail(error_of_call(error))
        except HoldRefusedError as refused:
            log.info("turn ended by a usage limit", needed_micros=refused.needed_micros)
            await self._fail(error_of_limit(refused), summary=OUT_OF_MONEY)
        except (StateConflictError, TakenAwayError) as error:
            log.info("turn was taken away", reason=str(error))
        except DATABASE_AWAY:
            raise
        except Exception:
            log.exception("turn crashed")
            await self._fail(UNEXPECTED)

    async def _fail(self, error: dict[str, Any], *, summary: str = "") -> None:
        self._span.fail(error["kind"])
        try:
            await stored(partial(runs.fail, summary=summary), self._position.fence, error)
        except StateConflictError as conflict:
            log.info("turn was taken away", reason=str(conflict))

    async def _hand_back(self) -> None:
        """Give the turn back once the database answers, or leave it to the end of the lease.

        What the model said since the last step is lost with it and will be said again. A turn that
        meets this again and again is ended: each round may cost money.
        """
        if self._position.attempt >= MOST_ATTEMPTS:
            await self._fail(UNEXPECTED)
            return
        try:
            await stored(partial(runs.release, why=DATABASE_LOST), self.chat_id, self.runner_id)
        except DATABASE_AWAY:
            log.warning("turn left to the end of its lease")

    def _recorded(self, chat: Chat, setup: _Setup) -> AbstractContextManager[RunRecorder]:
        return recorded_run(
            chat,
            setup.call,
            DebugRunKind.CHAT_TURN,
            enabled=setup.is_recorded,
            history_version=lambda: self._position.history_version,
        )

    async def _turn(self, setup: _Setup, toolset: Toolset, debug: RunRecorder) -> None:
        if setup.left_over:
            if await self._finish_step(setup, toolset):
                return
            setup = await self._reloaded(setup)
        provider = provider_of(setup.call, self.chat_id, setup.context.parent_chat_id)
        purse = Purse(self._position, provider, setup.call, setup.prices)
        caller = ModelCaller(
            self._position,
            provider,
            backend=self._backend,
            session=self._session,
            context_limit=setup.call.context_limit,
            purse=purse,
            debug=debug,
        )
        compactor = self._compactor(setup, provider, purse, debug)
        for taken in range(MAX_STEPS + 1):
            upcoming = await compactor.after(setup.last_step, setup.prompt)
            if upcoming is Next.END or taken == MAX_STEPS:
                break
            if upcoming is Next.RELOAD:
                setup = await self._reloaded(setup)
            request = request_of(setup.call, setup.prompt, toolset.specs, setup.context.plan_mode)
            result, writer = await caller.call(request, toolset, setup.chain)
            if await self._end_step(setup, toolset, result, writer):
                return
            setup = await self._reloaded(setup)
        self._position.advance(await stored(_finish, self._position.fence))

    async def _reloaded(self, setup: _Setup) -> _Setup:
        read = await in_database_thread(read_history, self.chat_id, setup.call, setup.inserts)
        return replace(setup, prompt=read.prompt, last_step=read.last_step, chain=None)

    def _compactor(
        self, setup: _Setup, provider: Provider, purse: Purse, debug: RunRecorder
    ) -> Compactor:
        return Compactor(
            self._position,
            provider,
            backend=self._backend,
            session=self._session,
            call=setup.call,
            purse=purse,
            threshold=setup.threshold,
            debug=debug,
        )

    # the end of a step

    async def _end_step(
        self, setup: _Setup, toolset: Toolset, result: StepResult, writer: PartWriter
    ) -> bool:
        """Carry out the calls of a step and store it; True when the turn has ended with it."""
        message = result.message(setup.call.config_id)
        if message is None:
            cost = result.cost(setup.call.config_id)
            await self._store(partial(_finish, cost=cost), [], writer)
            return True
        if not result.calls or result.reason is not FinishReason.TOOL_CALLS:
            goes_on = is_due_after(result.usage, setup.threshold)
            await self._store(runs.commit_step if goes_on else _finish, [message], writer)
            return not goes_on
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
            count_result(setup.call, toolset, part)
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
        self._position.advance(await stored(change, self._position.fence, messages))
        self.is_running = change is runs.commit_step
        await writer.retire()


_finish = runs.finish if env.side_calls else partial(runs.finish, label=FINISHED)
"""Where no model is asked for the label of a turn, the turn itself says that it has ended."""


def _tool_message(part: dict[str, Any], model_config_id: UUID) -> NewMessage:
    return NewMessage(role=Role.TOOL, content=[part], model_config_id=model_config_id)


def _set_up(chat: Chat) -> _Setup:
    call = resolve_model_call(chat.last_model_config_id, user_id=chat.owner_id)
    own_threshold = COMPACTION_THRESHOLD.of(call.config_id)
    personal = personal_values(chat.owner_id, CUSTOM_PROMPT, own_threshold, PERSONAL_DEBUG_LOGGING)
    inserts = (user_instructions(personal[CUSTOM_PROMPT]),)
    read = read_history(chat.pk, call, inserts)
    request = request_of(call, read.prompt, (), chat.plan_mode)
    return _Setup(
        call=call,
        prices=price_list(call.config_id, now()),
        inserts=inserts,
        prompt=read.prompt,
        last_step=read.last_step,
        chain=chain_of(read.rows, read.files, call, request, plan_mode=chat.plan_mode),
        threshold=threshold_percent(personal[own_threshold], call.compression_threshold),
        left_over=open_calls(chat),
        context=_context_of(chat),
        is_recorded=records_for(personal),
    )


def _context_of(chat: Chat) -> TurnContext:
    return TurnContext(
        chat_id=chat.pk,
        owner_id=chat.owner_id,
        organization_id=chat.organization_id,
        parent_chat_id=chat.parent_chat_id,
        mode=chat.mode,
        plan_mode=chat.plan_mode,
        mcp_server_ids=server_ids_of(chat.mcp_server_ids),
        dynamic_tools=chat.dynamic_tools or (),
    )
