"""The model call of a step: events into parts, and again after failures that may pass."""

import asyncio
import time
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace

import aiohttp
import structlog

from chatd.chats import runs
from chatd.chats.debug_models import DebugOperation
from chatd.core.metrics import StepMeter
from chatd.core.threads import in_database_thread
from chatd.live.backend import LiveBackend
from chatd.live.writer import PartWriter, streaming
from chatd.llm import client as llm
from chatd.llm.errors import LLMError, blocked_answer
from chatd.llm.types import Finish, FinishReason, Provider, Request
from chatd.tools.registry import Toolset
from chatd.turns.chain import Chain, unlinked
from chatd.turns.debugging import RunRecorder, StepRecorder
from chatd.turns.failures import retry_notice
from chatd.turns.model_calls import MAX_ATTEMPTS, back_off_seconds, is_of_anthropic
from chatd.turns.position import Position
from chatd.turns.prompt import sanitised_content
from chatd.turns.purse import Purse
from chatd.turns.step import StepCollector, StepResult
from chatd.turns.traces import ModelSpan, model_span
from config.env import env

log = structlog.get_logger(__name__)


class ModelCaller:
    """Calls the model of one turn."""

    def __init__(
        self,
        position: Position,
        provider: Provider,
        *,
        backend: LiveBackend,
        session: aiohttp.ClientSession,
        context_limit: int,
        purse: Purse,
        debug: RunRecorder,
    ) -> None:
        self._position = position
        self._provider = provider
        self._purse = purse
        self._backend = backend
        self._session = session
        self._context_limit = context_limit
        self._debug = debug
        self._is_unlinked = False

    async def call(
        self, request: Request, toolset: Toolset, chain: Chain | None = None
    ) -> tuple[StepResult, PartWriter]:
        """Call the model until it answers, going on from a chain while the provider knows it.

        Raises LLMError for a failure that is final, HoldRefusedError for a call that a limit does
        not leave room for.
        """
        if self._is_unlinked:
            request, chain = unlinked(request), None
        sent = chain.applied_to(request) if chain else request
        meter = StepMeter(self._provider.kind, sent.model, messages=len(sent.messages))
        with self._debug.step(sent, self._provider, DebugOperation.STREAM) as step:
            return await self._call(sent, request, toolset, step, meter)

    async def _call(
        self,
        request: Request,
        whole: Request,
        toolset: Toolset,
        step: StepRecorder,
        meter: StepMeter,
    ) -> tuple[StepResult, PartWriter]:
        """Call until there is an answer; with the `whole` history once a chain is broken."""
        for failures in range(1, MAX_ATTEMPTS + 1):
            sent, hold = await self._purse.admit(request, whole=whole)
            writer = self._position.writer(self._backend)
            collector = self._collector(writer, toolset)
            try:
                with streaming(writer), self._traced(sent) as traced:
                    result = await self._attempt(sent, collector, step, meter)
                    traced.answered(result, first_piece_seconds=meter.first_piece_seconds)
                step.answered(result)
                if collector.is_full:  # nobody told what it took
                    await self._purse.failed(hold, collector.written_bytes)
                    return result, writer
                return replace(result, hold=hold), writer
            except LLMError as error:
                await self._purse.failed(hold, collector.written_bytes)
                if not error.retryable or (error.chain_broken and self._is_unlinked):
                    raise
                if failures == MAX_ATTEMPTS:
                    reason = f"max retry attempts ({MAX_ATTEMPTS}) exceeded: {error.detail}"
                    log.warning("model call given up", reason=reason)
                    raise
                if error.chain_broken:
                    request, self._is_unlinked = unlinked(whole), True
                writer.stop_timer()
                meter.retried(str(error.kind), chain_broken=error.chain_broken)
                await self._back_off(error, failures, step)
            finally:
                writer.stop_timer()
        raise AssertionError("unreachable")

    def _traced(self, request: Request) -> AbstractContextManager[ModelSpan]:
        return model_span(request, self._provider, self._position.chat_id, streams=True)

    def _collector(self, writer: PartWriter, toolset: Toolset) -> StepCollector:
        return StepCollector(
            writer, context_limit=self._context_limit, mcp_server_of=toolset.mcp_server_of
        )

    async def _attempt(
        self,
        request: Request,
        collector: StepCollector,
        step: StepRecorder,
        meter: StepMeter,
    ) -> StepResult:
        events = llm.stream(
            request,
            self._provider,
            session=self._session,
            silence_seconds=env.stream_silence_seconds,
            observer=step.observer,
            sized=meter.sized,
        )
        asked_at = time.monotonic()
        async with aclosing(events):
            async for event in events:
                if asked_at:
                    if not isinstance(event, Finish):
                        meter.first_piece(asked_at)
                    asked_at = 0.0
                collector.add(event)
                if collector.is_full:
                    break
        result = collector.result()
        if is_of_anthropic(self._provider):
            result = replace(result, content=sanitised_content(result.content))
        if not result.content and result.reason is FinishReason.CONTENT_FILTER:
            raise blocked_answer(self._provider)
        return result

    async def _back_off(self, error: LLMError, failures: int, step: StepRecorder) -> None:
        delay = back_off_seconds(error, failures)
        step.retries(error, delay)
        log.warning("model call failed", attempt=failures, kind=str(error.kind), retry_in=delay)
        notice = retry_notice(error, attempt=failures, delay_seconds=delay)
        fence = self._position.fence
        self._position.advance(await in_database_thread(runs.record_retry, fence, notice))
        await asyncio.sleep(delay)
