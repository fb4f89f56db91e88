"""A conversation with a model over HTTP: what came is stored as a chat does, and sent again."""

import json
from typing import Any

from chatd.chats.models import Role
from chatd.chats.partial import Partial, partial_messages
from chatd.chats.selectors import PromptRow
from chatd.live.messages import StreamedPart
from chatd.llm.client import stream
from chatd.llm.types import Event, Provider, Request, ToolSpec
from chatd.turns.model_calls import is_of_anthropic
from chatd.turns.prompt import prompt_from, sanitised, sanitised_content
from chatd.turns.step import StepCollector, StepResult
from tests.support.prompts import text

TOOLS = tuple(
    ToolSpec(name=name, description="Does it.", parameters={"properties": {}})
    for name in ("find", "add")
)


class Log:
    """Takes the place of a part log: what an interrupt would find in it."""

    def __init__(self) -> None:
        self.parts: list[StreamedPart] = []

    def add(self, role: str, part: dict[str, Any]) -> None:
        self.parts.append(StreamedPart(role=role, part=part))

    def end_block(self, role: str, metadata: Any = None) -> None:
        last = self.parts.pop()
        ended = StreamedPart(role=last.role, part=last.part, is_last=True, metadata=metadata)
        self.parts.append(ended)


class Conversation:
    """One chat without a database; `rows` are what would be stored."""

    def __init__(self, provider: Provider, **parameters: Any) -> None:
        self.provider = provider
        self.parameters = {"model": "claude-sonnet-4-5", "tools": TOOLS, **parameters}
        self.rows = [PromptRow(0, Role.SYSTEM, [text("Be kind.")])]

    def ask(self, *parts: dict[str, Any]) -> None:
        self.rows.append(PromptRow(0, Role.USER, list(parts)))

    async def step(self) -> StepResult:
        """Call the model once and store what it said, without results of tools."""
        collector = StepCollector(Log(), context_limit=1)  # type: ignore[arg-type]
        async for event in stream(self.request(), self.provider):
            collector.add(event)
        result = collector.result()
        content = result.content
        if is_of_anthropic(self.provider):
            content = sanitised_content(content)
        self._store(Role.ASSISTANT, content)
        return result

    async def interrupted(self, *last: type[Event]) -> None:
        """Call the model, and be interrupted after the first event of one of these types."""
        log = Log()
        collector = StepCollector(log, context_limit=1)  # type: ignore[arg-type]
        events = stream(self.request(), self.provider)
        async for event in events:
            collector.add(event)
            if isinstance(event, last):
                break
        await events.aclose()
        for message in partial_messages(Partial(None, tuple(log.parts)), model_config_id=None):
            self._store(Role(message.role), message.content)

    def answer(self, result: StepResult, value: Any = "done", **fields: Any) -> None:
        """Store the same result for every call of a step."""
        for made in result.calls:
            part = {
                "type": "tool-result",
                "tool_call_id": made["tool_call_id"],
                "tool_name": made["tool_name"],
                "result": value,
            }
            self._store(Role.TOOL, [part | fields])

    def request(self) -> Request:
        messages = prompt_from(self.rows, {})
        if is_of_anthropic(self.provider):
            messages = sanitised(messages)
        return Request(messages=messages, **self.parameters)

    def _store(self, role: Role, content: list[dict[str, Any]]) -> None:
        self.rows.append(PromptRow(0, role, json.loads(json.dumps(content))))
