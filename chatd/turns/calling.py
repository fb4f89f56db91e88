"""The model call of a step: events into parts, and again after failures that may pass."""

import asyncio
from contextlib import aclosing

import aiohttp
import structlog

from chatd.chats import runs
from chatd.core.threads import in_database_thread
from chatd.live.backend import LiveBackend
from chatd.live.writer import PartWriter
from chatd.llm import client as llm
from chatd.llm.errors import LLMError
from chatd.llm.types import Provider, Request
from chatd.tools.registry import Toolset
from chatd.turns.failures import retry_notice
from chatd.turns.model_calls import MAX_ATTEMPTS, back_off_seconds
from chatd.turns.position import Position
from chatd.turns.step import StepCollector, StepResult
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
    ) -> None:
        self._position = position
        self._provider = provider
        self._backend = backend
        self._session = session
        self._context_limit = context_limit

    async def call(self, request: Request, toolset: Toolset) -> tuple[StepResult, PartWriter]:
        """Call the model until it answers. Raises LLMError for a failure that is final."""
        for failures in range(1, MAX_ATTEMPTS + 1):
            writer = self._position.writer(self._backend)
            try:
                return await self._attempt(request, toolset, writer), writer
            except LLMError as error:
                if not error.retryable or failures == MAX_ATTEMPTS:
                    raise
                writer.stop_timer()
                await self._back_off(error, failures)
            finally:
                writer.stop_timer()
        raise AssertionError("unreachable")

    async def _attempt(self, request: Request, toolset: Toolset, writer: PartWriter) -> StepResult:
        collector = StepCollector(
            writer, context_limit=self._context_limit, mcp_server_of=toolset.mcp_server_of
        )
        events = llm.stream(
            request,
            self._provider,
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
        fence = self._position.fence
        self._position.advance(await in_database_thread(runs.record_retry, fence, notice))
        await asyncio.sleep(delay)
