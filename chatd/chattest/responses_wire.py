"""What the fake of the Responses API answers: items, and the events that tell of them.

Belongs here: values a handler answers with, their JSON, the vendor's full sequence of events. Does
not belong here: HTTP (`responses`), what requests have to be like (`responses_rules`).
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]
EventBody = dict[str, Any]


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    url: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """A message; each delta is streamed on its own."""

    deltas: Sequence[str]
    cites: Sequence[Citation] = ()
    is_refusal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Think:
    """A reasoning item; its summary may have several parts, or none."""

    summary: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTool:
    name: str
    arguments: str
    call_id: str = field(default_factory=lambda: new_id("call"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    query: str
    is_failed: bool = False


Output = Say | Think | CallTool | Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer, in the order of its output.

    `incomplete` is the reason why it stops early. `error` makes it fail after its output, `cut`
    ends the stream before its terminal event, `hangs` leaves it open there.
    """

    output: Sequence[Output] = ()
    incomplete: str = ""
    error: Mapping[str, Any] | None = None
    error_event: Mapping[str, Any] | None = None
    cut: bool = False
    hangs: bool = False
    usage: Mapping[str, int] = field(default_factory=dict)


def says(*deltas: str, **more: Any) -> Reply:
    """Return the answer that is one message."""
    return Reply(output=[Say(deltas=deltas)], **more)


def usage_of(reply: Reply) -> dict[str, Any]:
    given = {"input": 21, "output": 7, "cached": 4, "reasoning": 2, **reply.usage}
    return {
        "input_tokens": given["input"],
        "input_tokens_details": {"cached_tokens": given["cached"]},
        "output_tokens": given["output"],
        "output_tokens_details": {"reasoning_tokens": given["reasoning"]},
        "total_tokens": given["input"] + given["output"],
    }


def items_of(reply: Reply, *, is_encrypted: bool) -> list[Item]:
    """Return the items of an answer as the vendor keeps them."""
    return [_item(output, is_encrypted=is_encrypted) for output in reply.output]


def _item(output: Output, *, is_encrypted: bool) -> Item:
    match output:
        case Say(deltas=deltas, cites=cites, is_refusal=True):
            part: Item = {"type": "refusal", "refusal": "".join(deltas)}
        case Say(deltas=deltas, cites=cites):
            annotations = [_annotation(cite) for cite in cites]
            part = {"type": "output_text", "annotations": annotations, "logprobs": []}
            part["text"] = "".join(deltas)
        case Think(summary=summary):
            whole = [{"type": "summary_text", "text": text} for text in summary]
            item: Item = {"id": new_id("rs"), "type": "reasoning", "summary": whole}
            return item | ({"encrypted_content": new_id("gAAAA")} if is_encrypted else {})
        case CallTool(name=name, arguments=arguments, call_id=call_id):
            call = {"call_id": call_id, "name": name, "arguments": arguments}
            return {"id": new_id("fc"), "type": "function_call", "status": "completed", **call}
        case Search(query=query, is_failed=is_failed):
            status = "failed" if is_failed else "completed"
            action = {"type": "search", "query": query}
            return {
                "id": new_id("ws"),
                "type": "web_search_call",
                "status": status,
                "action": action,
            }
    message = {"id": new_id("msg"), "type": "message", "status": "completed"}
    return {**message, "role": "assistant", "content": [part]}


def _annotation(cite: Citation) -> Item:
    place = {"start_index": 0, "end_index": 1}
    return {"type": "url_citation", **place, "url": cite.url, "title": cite.title}


def response_of(body: Mapping[str, Any], reply: Reply, items: Sequence[Item]) -> Item:
    """Return the response object at its end."""
    status = "incomplete" if reply.incomplete else "failed" if reply.error else "completed"
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": dict(reply.error) if reply.error else None,
        "incomplete_details": {"reason": reply.incomplete} if reply.incomplete else None,
        "instructions": body.get("instructions"),
        "model": body["model"],
        "output": list(items),
        "previous_response_id": body.get("previous_response_id"),
        "store": body.get("store", True),
        "tools": body.get("tools", []),
        "usage": usage_of(reply),
        "metadata": {},
    }


def events_of(response: Item, reply: Reply) -> Iterator[EventBody]:
    """Yield the events of a streamed answer; a cut one has no terminal event."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None, "error": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, (item, output) in enumerate(zip(response["output"], reply.output, strict=True)):
        yield from _item_events(item, output, index)
    if reply.error_event:
        yield {"type": "error", **reply.error_event}
    elif not reply.cut and not reply.hangs:
        yield {"type": f"response.{response['status']}", "response": response}


def _item_events(item: Item, output: Output, index: int) -> Iterator[EventBody]:
    at = {"item_id": item["id"], "output_index": index}
    growing: dict[str, Item] = {"reasoning": {"summary": []}, "function_call": {"arguments": ""}}
    added = {**item, "status": "in_progress", **growing.get(item["type"], {"content": []})}
    yield {"type": "response.output_item.added", "output_index": index, "item": added}
    match output:
        case Say():
            yield from _message_events(item["content"][0], output, {**at, "content_index": 0})
        case Think(summary=summary):
            for position, text in enumerate(summary):
                yield from _summary_events(text, {**at, "summary_index": position})
        case CallTool(arguments=arguments):
            kind = "response.function_call_arguments"
            for piece in _pieces(arguments):
                yield {"type": f"{kind}.delta", **at, "delta": piece}
            yield {"type": f"{kind}.done", **at, "arguments": arguments}
        case Search():
            for state in ("in_progress", "searching", "completed"):
                yield {"type": f"response.web_search_call.{state}", **at}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _message_events(part: Item, output: Say, at: Item) -> Iterator[EventBody]:
    kind, name = ("refusal", "refusal") if output.is_refusal else ("output_text", "text")
    empty = {**part, name: ""} | ({} if output.is_refusal else {"annotations": []})
    yield {"type": "response.content_part.added", **at, "part": empty}
    for delta in output.deltas:
        yield {"type": f"response.{kind}.delta", **at, "delta": delta, "obfuscation": "x" * 9}
    for position, annotation in enumerate(part.get("annotations", ())):
        yield {
            "type": "response.output_text.annotation.added",
            **at,
            "annotation_index": position,
            "annotation": annotation,
        }
    yield {"type": f"response.{kind}.done", **at, name: part[name]}
    yield {"type": "response.content_part.done", **at, "part": part}


def _summary_events(text: str, at: Item) -> Iterator[EventBody]:
    part = {"type": "summary_text", "text": text}
    yield {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}}
    for piece in _pieces(text):
        yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **at, "text": text}
    yield {"type": "response.reasoning_summary_part.done", **at, "part": part}


def _pieces(text: str) -> Iterator[str]:
    for at in range(0, len(text), 7):
        yield text[at : at + 7]


def event_bytes(event: EventBody, number: int) -> bytes:
    """Return an event as it is written, with the name and the number that the vendor gives it."""
    document = json.dumps({**event, "sequence_number": number}, ensure_ascii=False)
    return f"event: {event['type']}\ndata: {document}\n\n".encode()
