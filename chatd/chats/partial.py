"""What a running step has streamed so far, as messages that can be stored.

An interrupt reads the part log of the running episode and turns it into an assistant message.
Calls that have no result yet get a synthetic error result, so that no call is left open.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from msgspec import UNSET

from chatd.chats.models import Chat, Role, Status
from chatd.chats.parts import error_result, parsed_arguments
from chatd.chats.transition import NewMessage
from chatd.live.backend import PartLogUnavailableError, live_backend
from chatd.live.messages import Episode, PartEntry, StreamedPart, decode_part

INTERRUPTED_CALL = "tool call was interrupted before it produced a result"


@dataclass(frozen=True, slots=True)
class Partial:
    """The streamed parts of one episode. `episode` None matches whatever is running."""

    episode: Episode | None
    parts: tuple[StreamedPart, ...] = field(default=())


def partial_from_log(episode: Episode, entries: Iterable[PartEntry]) -> Partial:
    """Return the partial answer of `episode` from its log entries, in order."""
    parts: list[StreamedPart] = []
    last = 0
    for entry in entries:
        if entry.seq > last:  # an append that was tried again may stand there twice
            parts += [decode_part(raw) for raw in entry.parts]
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
    """Return the messages that keep a partial answer; none when nothing was streamed."""
    answer = _answer(part for part in partial.parts if part.role == Role.ASSISTANT)
    results = [dict(part.part) for part in partial.parts if part.role == Role.TOOL]
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


def _answer(streamed: Iterable[StreamedPart]) -> list[dict[str, Any]]:
    """Join deltas into whole parts; blank text is dropped."""
    blocks: list[dict[str, Any]] = []
    arguments: dict[str, list[str]] = {}
    calls: dict[str, dict[str, Any]] = {}
    for item in streamed:
        part = item.part
        match part["type"]:
            case "text" | "reasoning":
                _extend_text(blocks, part)
            case "tool-call":
                _extend_call(blocks, calls, arguments, part)
            case _:
                blocks.append(dict(part))
    for call_id, pieces in arguments.items():
        if "args" not in calls[call_id]:
            _parse_arguments(calls[call_id], "".join(pieces))
    return [_whole(block) for block in blocks if block["type"] != "text" or _text(block).strip()]


def _extend_text(blocks: list[dict[str, Any]], part: dict[str, Any]) -> None:
    if blocks and blocks[-1]["type"] == part["type"]:
        blocks[-1]["pieces"].append(part["text"])
    else:
        blocks.append({"type": part["type"], "pieces": [part["text"]]})


def _extend_call(
    blocks: list[dict[str, Any]],
    calls: dict[str, dict[str, Any]],
    arguments: dict[str, list[str]],
    part: dict[str, Any],
) -> None:
    call_id = part.get("tool_call_id", "")
    call = calls.get(call_id)
    if call is None:
        call = calls[call_id] = {key: part[key] for key in part if key != "args_delta"}
        blocks.append(call)
    else:
        call.update({key: part[key] for key in part if key != "args_delta"})
    if "args_delta" in part:
        arguments.setdefault(call_id, []).append(part["args_delta"])


def _parse_arguments(call: dict[str, Any], text: str) -> None:
    args = parsed_arguments(text)
    if args is not UNSET:  # cut in the middle: stored without arguments
        call["args"] = args


def _text(block: dict[str, Any]) -> str:
    return "".join(block["pieces"])


def _whole(block: dict[str, Any]) -> dict[str, Any]:
    if "pieces" in block:
        return {"type": block["type"], "text": _text(block)}
    return block


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
