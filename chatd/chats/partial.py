"""What a running step has streamed so far, as messages that can be stored.

An interrupt reads the part log of the running episode and turns it into an assistant message.
Calls that have no result yet get a synthetic error result, so that no call is left open.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from msgspec import UNSET

from chatd.chats.models import Chat, Role, Status
from chatd.chats.new_messages import NewMessage
from chatd.chats.parts import error_result, is_of_compaction, parsed_arguments
from chatd.core.clock import now, rfc3339
from chatd.live.backend import PartLogUnavailableError, live_backend
from chatd.live.messages import Episode, PartEntry, StreamedPart, decode_onto

INTERRUPTED_CALL = "tool call was interrupted before it produced a result"


@dataclass(frozen=True, slots=True)
class Partial:
    """The streamed parts of one episode. `episode` None matches whatever is running."""

    episode: Episode | None
    parts: tuple[StreamedPart, ...] = field(default=())


def partial_from_log(episode: Episode, entries: Iterable[PartEntry]) -> Partial:
    """Return the partial answer of `episode` from its log entries, in order, up to a hole."""
    parts: list[StreamedPart] = []
    last = 0
    for entry in entries:
        if entry.seq > last + 1 and not entry.folded:
            break
        if entry.seq > last:  # an append that was tried again may stand there twice
            decode_onto(parts, entry)
            last = entry.seq
    return Partial(episode, tuple(parts))


def read_partial(chat: Chat) -> Partial | None:
    """Return what the running episode has streamed; empty when the log is out of reach."""
    if chat.status != Status.RUNNING:
        return None
    episode = Episode(chat.history_version, chat.attempt)
    try:
        return partial_from_log(episode, live_backend().read_blocking(chat.pk, episode))
    except PartLogUnavailableError:
        return Partial(episode)


def read_partials(chats: Iterable[Chat]) -> dict[UUID, Partial]:
    """Return the partial answers of those chats that run, by chat id."""
    found = {chat.pk: read_partial(chat) for chat in chats}
    return {chat_id: partial for chat_id, partial in found.items() if partial is not None}


def partial_messages(partial: Partial, *, model_config_id: Any) -> list[NewMessage]:
    """Return the messages that keep a partial answer; none when nothing was streamed.

    How a compaction shows itself is left out: it stores its own rows, or none.
    """
    parts = [part for part in partial.parts if not is_of_compaction(part.part)]
    answer = _answer(part for part in parts if _is_of_answer(part))
    results = [dict(part.part) for part in parts if not _is_of_answer(part)]
    if not answer:
        return []
    answered = {result.get("tool_call_id") for result in results}
    open_calls = [
        part
        for part in answer
        if part["type"] == "tool-call"
        and not part.get("provider_executed")
        and part.get("tool_call_id") not in answered
    ]
    results += [error_result(call, {"error": INTERRUPTED_CALL}) for call in open_calls]
    return [
        NewMessage(role=Role.ASSISTANT, content=answer, model_config_id=model_config_id),
        *(
            NewMessage(role=Role.TOOL, content=[result], model_config_id=model_config_id)
            for result in results
        ),
    ]


def _is_of_answer(streamed: StreamedPart) -> bool:
    """Tell whether a part belongs into the answer; what the provider carried out does."""
    return streamed.role != Role.TOOL or bool(streamed.part.get("provider_executed"))


def _answer(streamed: Iterable[StreamedPart]) -> list[dict[str, Any]]:
    """Join deltas into whole parts.

    Blank text is dropped unless its provider wants something of it back, and so are calls of the
    provider's own that it did not answer.
    """
    blocks: list[dict[str, Any]] = []
    arguments: dict[str, list[str]] = {}
    calls: dict[str, dict[str, Any]] = {}
    is_open = False
    for item in streamed:
        part = item.part
        if item.began_at and blocks:
            _end_reasoning(blocks[-1], item.began_at)
        match part["type"]:
            case "text" | "reasoning":
                block = _extended_text(blocks, item, is_open=is_open)
            case "tool-call":
                block = _extended_call(blocks, calls, arguments, part)
            case _:
                block = dict(part)
                blocks.append(block)
        is_open = not item.is_last
        if item.ended_at:
            _end_reasoning(block, item.ended_at)
        if item.metadata is not None:
            block["provider_metadata"] = item.metadata
    if blocks:
        _end_reasoning(blocks[-1], rfc3339(now()))
    for call_id, pieces in arguments.items():
        if "args" not in calls[call_id]:
            _parse_arguments(calls[call_id], "".join(pieces))
    results = {block.get("tool_call_id") for block in blocks if block["type"] == "tool-result"}
    return [_whole(block) for block in blocks if _is_kept(block, results)]


def _is_kept(block: dict[str, Any], results: Container[Any]) -> bool:
    match block["type"]:
        case "text":
            return bool(_text(block).strip() or block.get("provider_metadata"))
        case "tool-call" if block.get("provider_executed"):
            return block.get("tool_call_id") in results
        case _:
            return True


def _extended_text(
    blocks: list[dict[str, Any]], item: StreamedPart, *, is_open: bool
) -> dict[str, Any]:
    part = item.part
    if not (is_open and blocks and blocks[-1]["type"] == part["type"]):
        blocks.append({"type": part["type"], "pieces": []})
        if item.began_at and part["type"] == "reasoning":
            blocks[-1]["created_at"] = item.began_at
    blocks[-1]["pieces"].append(part["text"])
    return blocks[-1]


def _end_reasoning(block: dict[str, Any], at: str) -> None:
    """Note when reasoning ended, once; what is not known to have begun has no end either."""
    if block["type"] == "reasoning" and "created_at" in block:
        block.setdefault("completed_at", at)


def _extended_call(
    blocks: list[dict[str, Any]],
    calls: dict[str, dict[str, Any]],
    arguments: dict[str, list[str]],
    part: dict[str, Any],
) -> dict[str, Any]:
    call_id = part.get("tool_call_id", "")
    call = calls.get(call_id)
    if call is None:
        call = calls[call_id] = {key: part[key] for key in part if key != "args_delta"}
        blocks.append(call)
    else:
        call.update({key: part[key] for key in part if key != "args_delta"})
    if "args_delta" in part:
        arguments.setdefault(call_id, []).append(part["args_delta"])
    return call


def _parse_arguments(call: dict[str, Any], text: str) -> None:
    args = parsed_arguments(text)
    if args is not UNSET:  # cut in the middle: stored without arguments
        call["args"] = args


def _text(block: dict[str, Any]) -> str:
    return "".join(block["pieces"])


def _whole(block: dict[str, Any]) -> dict[str, Any]:
    if "pieces" not in block:
        return block
    kept = {key: value for key, value in block.items() if key != "pieces"}
    return {**kept, "text": _text(block)}


def synthetic_results(
    calls: Sequence[dict[str, Any]], reason: str, *, model_config_id: Any
) -> list[NewMessage]:
    """Return one error result per open client-side call; the result is `reason` as a text."""
    return [
        NewMessage(
            role=Role.TOOL,
            content=[error_result(call, reason)],
            model_config_id=model_config_id,
        )
        for call in calls
    ]
