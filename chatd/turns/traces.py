"""Turns and model calls as spans, by the conventions of OpenTelemetry for generative AI.

Belongs here: their names and attributes. Does not belong here: whether there are traces at all
(`core.tracing`), tool calls (`tools.batch`).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

from chatd.chats.models import Chat
from chatd.chats.new_messages import StepUsage
from chatd.chats.runs import Progress
from chatd.core.context import Cause, correlation_id
from chatd.core.tracing import NO_SPAN, Attribute, Span, is_on, span
from chatd.llm.errors import LLMError
from chatd.llm.types import Answer, Provider, Request
from chatd.turns.step import StepResult, step_usage

AGENT = "chatd"

_PROVIDER_NAMES = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
}
"""Kinds that the conventions have another name for."""


class Traced(Protocol):
    """A runner: `latest` and `stop_cause` tell how its turn has ended."""

    runner_id: UUID

    @property
    def stop_cause(self) -> str | None: ...

    @property
    def latest(self) -> Progress | None: ...


@contextmanager
def turn_span(runner: Traced, chat: Chat, cause: Cause) -> Iterator[Span]:
    """Trace what is in it as a turn, in the trace of what made the chat pending."""
    if not is_on():
        yield NO_SPAN
        return
    about: dict[str, Attribute] = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": AGENT,
        "gen_ai.conversation.id": str(chat.pk),
        "chatd.correlation_id": correlation_id(),
        "chatd.runner_id": str(runner.runner_id),
        "chatd.attempt": chat.attempt,
    }
    opened = span(
        f"invoke_agent {AGENT}", kind="consumer", parent=cause.traceparent, attributes=about
    )
    with opened as turn:
        try:
            yield turn
        finally:
            latest, stopped_by = runner.latest, runner.stop_cause
            turn.set(
                {
                    "chatd.turn.status": str(latest.status) if latest else None,
                    "chatd.turn.stopped_by": str(stopped_by) if stopped_by else None,
                }
            )


class ModelSpan:
    """One call of a model."""

    def __init__(self, told: Span) -> None:
        self._told = told

    def answered(
        self, answer: StepResult | Answer, *, first_piece_seconds: float | None = None
    ) -> None:
        """Take how the call ended and what it took, none of what was said."""
        if not self._told.is_recorded:
            return
        usage = answer.usage if isinstance(answer.usage, StepUsage) else step_usage(answer.usage, 0)
        self._told.set(
            {
                "gen_ai.response.finish_reasons": [str(answer.reason)],
                "gen_ai.response.id": answer.response_id,
                "gen_ai.response.time_to_first_chunk": first_piece_seconds,
                **_tokens(usage),
            }
        )


_UNTRACED = ModelSpan(NO_SPAN)


@contextmanager
def model_span(
    request: Request, provider: Provider, chat_id: UUID, *, streams: bool
) -> Iterator[ModelSpan]:
    """Trace what is in it as one HTTP call of a model; each try is a call of its own."""
    if not is_on():
        yield _UNTRACED
        return
    with _opened(request, provider, chat_id, streams=streams) as told:
        try:
            yield ModelSpan(told)
        except LLMError as error:
            told.set({"http.response.status_code": error.status_code or None})
            told.fail(str(error.kind))
            raise


def _opened(
    request: Request, provider: Provider, chat_id: UUID, *, streams: bool
) -> AbstractContextManager[Span]:
    kind = "bedrock" if provider.aws else provider.kind
    about: dict[str, Attribute] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDER_NAMES.get(kind, kind),
        "gen_ai.request.model": request.model,
        "gen_ai.request.stream": streams,
        "gen_ai.conversation.id": str(chat_id),
        "server.address": urlsplit(provider.base_url).hostname,
    }
    return span(f"chat {request.model}", kind="client", attributes=about)


def _tokens(usage: StepUsage) -> dict[str, Attribute]:
    """Return the tokens of a call; input counts what was read from a cache or written to one."""
    parts = (usage.input_tokens, usage.cache_read_tokens, usage.cache_creation_tokens)
    read = [part for part in parts if part is not None]
    return {
        "gen_ai.usage.input_tokens": sum(read) if read else None,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_creation_tokens,
    }
