"""Every call answered once, right behind its message; no result without a call (engine 8.6).

Histories break where a turn was cut, where results came late, where ids were used twice. Providers
refuse all of that.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from chatd.llm.call_ids import UNNAMED
from chatd.llm.types import (
    AssistantBlock,
    AssistantMessage,
    Message,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
)

MISSING_RESULT = "tool call was interrupted and did not receive a result"


def repaired(messages: Iterable[Message]) -> list[Message]:
    """Return the messages with calls and results paired.

    A local call without a result gets an error that says so. A result without a call gets a call
    without arguments, before it. Calls that a provider carried out are never answered here; their
    results stand in the same message, or are left out.
    """
    found: list[Message] = []
    names: dict[str, str] = {}
    for message, results in _with_results(messages):
        if isinstance(message, AssistantMessage):
            answer = _Answer(message, results)
            names |= answer.names
            found += [*answer.messages(), *_adopted(answer.orphans, names)]
        else:
            found += [*([message] if message else []), *_adopted(results, names)]
    return found


def _with_results(
    messages: Iterable[Message],
) -> Iterator[tuple[Message | None, Sequence[ToolResultBlock]]]:
    """Yield each message that is no result, with the results up to the next such message."""
    message: Message | None = None
    results: list[ToolResultBlock] = []
    for each in messages:
        if isinstance(each, ToolMessage):
            results += each.results
        else:
            yield message, results
            message, results = each, []
    yield message, results


class _Answer:
    """An answer of the model and the results behind it, sorted out.

    `names` are those of its calls by id, `orphans` the results that belong to none of them.
    """

    def __init__(self, message: AssistantMessage, results: Sequence[ToolResultBlock]) -> None:
        self.names: dict[str, str] = {}
        self.orphans: list[ToolResultBlock] = []
        self._blocks: list[AssistantBlock] = []
        self._answers: list[ToolResultBlock] = []
        self._waiting: dict[str, deque[ToolCallBlock]] = {}
        for block in message.blocks:
            if isinstance(block, ToolCallBlock):
                self._add_call(block)
            elif isinstance(block, ToolResultBlock):
                self._add_result(block)
            else:
                self._blocks.append(block)
        for result in results:
            self._add_result(result)

    def _add_call(self, call: ToolCallBlock) -> None:
        """Take a call; of several with one id the later ones get ids of their own."""
        named = call if call.id not in self.names else replace(call, id=_free(call.id, self.names))
        self.names[named.id] = named.name
        self._waiting.setdefault(call.id, deque()).append(named)
        self._blocks.append(named)

    def _add_result(self, result: ToolResultBlock) -> None:
        """Give a result to the first call that waits for it; one too many is left out."""
        calls = self._waiting.get(result.call_id)
        if calls is None:
            self.orphans.append(result)
        elif calls:
            call = calls.popleft()
            result = _fitted(result, call)
            (self._blocks if call.provider_executed else self._answers).append(result)

    def messages(self) -> list[Message]:
        """Return the answer, the results of its local calls, errors for those without one."""
        open_calls = [call for calls in self._waiting.values() for call in calls]
        missing = tuple(_missing(call) for call in open_calls if not call.provider_executed)
        found: list[Message] = []
        if self._blocks:
            found.append(AssistantMessage(blocks=tuple(self._blocks)))
        if self._answers:
            found.append(ToolMessage(results=tuple(self._answers)))
        if missing:
            found.append(ToolMessage(results=missing))
        return found


def _fitted(result: ToolResultBlock, call: ToolCallBlock) -> ToolResultBlock:
    """Return the result as one of this call; most are already."""
    if (result.call_id, result.provider_executed) == (call.id, call.provider_executed):
        return result
    return replace(result, call_id=call.id, provider_executed=call.provider_executed)


def _free(call_id: str, taken: Collection[str]) -> str:
    number = 2
    while f"{call_id}_{number}" in taken:
        number += 1
    return f"{call_id}_{number}"


def _missing(call: ToolCallBlock) -> ToolResultBlock:
    return ToolResultBlock(call_id=call.id, name=call.name, output=MISSING_RESULT, is_error=True)


def _adopted(results: Sequence[ToolResultBlock], names: Mapping[str, str]) -> list[Message]:
    """Return an answer that makes the calls of lost results, and the results.

    What a provider carried out is left out.
    """
    lost: dict[str, ToolResultBlock] = {}
    for result in results:
        name = result.name or names.get(result.call_id) or UNNAMED
        if not result.provider_executed and result.call_id not in lost:
            lost[result.call_id] = replace(result, name=name)
    if not lost:
        return []
    calls = tuple(
        ToolCallBlock(id=call_id, name=result.name, arguments="{}")
        for call_id, result in lost.items()
    )
    return [AssistantMessage(blocks=calls), ToolMessage(results=tuple(lost.values()))]
