"""Chunks of the fake Gemini server: parts of an answer and their JSON.

Belongs here: values a handler answers with. Does not belong here: HTTP, rules.
"""

from collections.abc import Mapping
from typing import Any

RESPONSE_ID = "rsp-of-the-fake"
MODEL_VERSION = "gemini-of-the-fake"

Part = dict[str, Any]


def text(words: str, *, signature: str = "", thought: bool = False) -> Part:
    """Return a part with text; a thought is marked as one."""
    part: Part = {"text": words}
    if thought:
        part["thought"] = True
    return _signed(part, signature)


def call(name: str, args: Mapping[str, Any], *, call_id: str = "", signature: str = "") -> Part:
    """Return a part that calls a function; older models give no id."""
    found: Part = {"name": name, "args": dict(args)}
    return _signed({"functionCall": {**found, "id": call_id} if call_id else found}, signature)


def search(query: str, *, call_id: str, signature: str = "") -> Part:
    """Return a part that says that the server searches the web."""
    found = {"id": call_id, "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": [query]}}
    return _signed({"toolCall": found}, signature)


def search_result(*, call_id: str, signature: str = "") -> Part:
    """Return a part that says what a search of the server gave."""
    found = {"id": call_id, "toolType": "GOOGLE_SEARCH_WEB", "response": {"found": "a page"}}
    return _signed({"toolResponse": found}, signature)


def image(data: str, media_type: str = "image/png", *, signature: str = "") -> Part:
    """Return a part with base64 of an image."""
    return _signed({"inlineData": {"mimeType": media_type, "data": data}}, signature)


def _signed(part: Part, signature: str) -> Part:
    return {**part, "thoughtSignature": signature} if signature else part


def chunk(
    *parts: Part,
    reason: str = "",
    usage: Mapping[str, int] | None = None,
    response_id: str = RESPONSE_ID,
    **of_candidate: Any,
) -> dict[str, Any]:
    """Return one event of a stream, or with a reason a whole answer."""
    candidate: dict[str, Any] = {"index": 0, **of_candidate}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if reason:
        candidate["finishReason"] = reason
    return {
        "candidates": [candidate],
        "usageMetadata": dict(usage or numbers()),
        "modelVersion": MODEL_VERSION,
        "responseId": response_id,
    }


def numbers(
    prompt: int = 10, candidates: int = 5, *, thoughts: int = 0, cached: int = 0
) -> dict[str, int]:
    """Return usage as the API counts it; what is zero is left out."""
    found = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "cachedContentTokenCount": cached,
        "totalTokenCount": prompt + candidates + thoughts,
    }
    return {name: number for name, number in found.items() if number}


def grounding(query: str, *pages: tuple[str, str]) -> dict[str, Any]:
    """Return what a search found: pages as (url, title)."""
    return {
        "webSearchQueries": [query],
        "searchEntryPoint": {"renderedContent": "<div></div>"},
        "groundingChunks": [{"web": {"uri": url, "title": title}} for url, title in pages],
        "groundingSupports": [{"segment": {"endIndex": 4}, "groundingChunkIndices": [0]}],
    }
