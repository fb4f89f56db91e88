"""The conversation as Google takes it: turns of user and model that alternate.

Belongs here: parts, their order, the signatures they bring back. Does not belong here: the rest
of a request (`request`).
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, assert_never

import orjson

from chatd.llm.call_ids import safe_call_id, safe_tool_name
from chatd.llm.types import (
    AssistantBlock,
    AssistantMessage,
    FileBlock,
    Message,
    ReasoningBlock,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    ToolSpec,
    UserMessage,
)
from chatd.llm.wires.decoding import is_object
from chatd.llm.wires.gemini import families, signatures

OPENING = "(The conversation goes on.)"
"""Of a conversation that does not begin with a person: Google wants one."""

UNSEEN = "[{} content that cannot be shown here]"

MEDIA_TYPES = frozenset(
    {
        "application/pdf",
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/heic",
        "image/heif",
    }
)
"""What Google takes of images and documents; another type would fail every turn of a chat.

https://ai.google.dev/gemini-api/docs/image-understanding
"""

Part = dict[str, Any]
Content = dict[str, Any]


def contents_of(
    messages: Sequence[Message], tools: Sequence[ToolSpec], model: str
) -> list[Content]:
    """Return the conversation; system messages are for `system_texts`."""
    conversation = _Conversation(tools, is_latest=families.is_gemini_3(model))
    for message in messages:
        conversation.add(message)
    return conversation.contents()


def system_texts(messages: Sequence[Message]) -> list[str]:
    """Return the texts of the system messages, wherever they stand."""
    return [message.text for message in messages if isinstance(message, SystemMessage)]


class _Conversation:
    """Contents in the making. `is_latest` models want signatures, and take images of tools."""

    def __init__(self, tools: Sequence[ToolSpec], *, is_latest: bool) -> None:
        self._tools = tools
        self._is_latest = is_latest
        self._contents: list[Content] = []
        self._called: dict[str, tuple[str, str]] = {}

    def add(self, message: Message) -> None:
        match message:
            case SystemMessage():
                pass
            case UserMessage():
                self._put("user", [part for block in message.blocks if (part := _said(block))])
            case AssistantMessage():
                self._put("model", list(self._answer(message)))
            case ToolMessage():
                self._put("user", list(self._results(message)))
            case _:
                assert_never(message)

    def contents(self) -> list[Content]:
        """Return the contents, responses in the order of the calls and directly behind them."""
        found = self._contents
        if found and found[0]["role"] == "model":
            found = [{"role": "user", "parts": [{"text": OPENING}]}, *found]
        for before, content in pairwise(found):
            if content["role"] == "user":
                content["parts"] = _ordered(content["parts"], before["parts"])
        if self._is_latest:
            _sign_current(found)
        return found

    def _put(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        if self._contents and self._contents[-1]["role"] == role:
            self._contents[-1]["parts"] += parts
        else:
            self._contents.append({"role": role, "parts": parts})

    def _answer(self, message: AssistantMessage) -> Iterator[Part]:
        executed = _executed_ids(message.blocks)
        for block in message.blocks:
            match block:
                case TextBlock():
                    yield from _texts(block)
                case ReasoningBlock():
                    yield from _thoughts(block)
                case ToolCallBlock(provider_executed=False):
                    yield self._call(block)
                case ToolCallBlock() | ToolResultBlock():
                    if _own_part(block).get("id") in executed:
                        yield _executed_part(block)
                case FileBlock():
                    if part := _media(block):
                        yield _signed(part, signatures.signature_of(block.provider_metadata))
                case _:
                    assert_never(block)

    def _call(self, block: ToolCallBlock) -> Part:
        name = safe_tool_name(block.name, self._tools)
        call_id = signatures.call_id_of(block.provider_metadata) or safe_call_id(block.id)
        self._called[block.id] = (call_id, name)
        call = {"id": call_id, "name": name, "args": _arguments(block.arguments)}
        return _signed({"functionCall": call}, signatures.signature_of(block.provider_metadata))

    def _results(self, message: ToolMessage) -> Iterator[Part]:
        beside: list[Part] = []
        for result in message.results:
            response = self._response(result)
            media = _media(result.media) if result.media else None
            if media and self._is_latest:
                response["parts"] = [media]
            elif media:
                beside.append(media)
            yield {"functionResponse": response}
        yield from beside

    def _response(self, result: ToolResultBlock) -> dict[str, Any]:
        unnamed = (safe_call_id(result.call_id), safe_tool_name(result.name, self._tools))
        call_id, name = self._called.get(result.call_id, unnamed)
        output = result.output
        if not output and result.media and not _media(result.media):
            output = UNSEEN.format(result.media.media_type)
        response = {"error" if result.is_error else "result": output}
        return {"id": call_id, "name": name, "response": response}


def _said(block: TextBlock | FileBlock) -> Part | None:
    """Return a text, an image or a PDF as a part; None for what is empty or something else."""
    if isinstance(block, TextBlock):
        return {"text": block.text} if block.text else None
    return _media(block) or _unseen(block)


def _media(block: FileBlock) -> Part | None:
    """Return a file that Google takes as a part."""
    media_type = _media_type(block)
    if not block.data or media_type not in MEDIA_TYPES:
        return None
    encoded = base64.b64encode(block.data).decode()
    return {"inlineData": {"mimeType": media_type, "data": encoded}}


def _unseen(block: FileBlock) -> Part | None:
    """Return a text for an image of a type that Google does not take."""
    media_type = _media_type(block)
    is_image = block.data and media_type.startswith("image/")
    return {"text": UNSEEN.format(media_type)} if is_image else None


def _media_type(block: FileBlock) -> str:
    media_type = block.media_type.partition(";")[0].strip().lower()
    return "image/jpeg" if media_type == "image/jpg" else media_type


def _texts(block: TextBlock) -> Iterator[Part]:
    for text, signature in signatures.parts_of(block.text, block.provider_metadata):
        if text.strip() or signature:
            yield _signed({"text": text}, signature)


def _thoughts(block: ReasoningBlock) -> Iterator[Part]:
    """Yield signed thoughts. Others, and those of other providers, tell a model nothing."""
    for text, signature in signatures.parts_of(block.text, block.provider_metadata):
        if signature:
            yield _signed({"text": text, "thought": True}, signature)


def _signed(part: Part, signature: str | None) -> Part:
    return {**part, "thoughtSignature": signature} if signature else part


def _arguments(text: str) -> Any:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return orjson.Fragment(text) if isinstance(found, dict) else {}


# Calls that Google carried out: as they came, and never one without its response


def _executed_ids(blocks: Sequence[AssistantBlock]) -> set[str]:
    calls = {_own_part(block).get("id") for block in blocks if isinstance(block, ToolCallBlock)}
    results = {_own_part(each).get("id") for each in blocks if isinstance(each, ToolResultBlock)}
    return {each for each in calls & results if each}


def _own_part(block: ToolCallBlock | ToolResultBlock) -> Mapping[str, Any]:
    kept = signatures.section_of(block.provider_metadata)
    is_call = isinstance(block, ToolCallBlock)
    found = kept.get(signatures.TOOL_CALL if is_call else signatures.TOOL_RESPONSE)
    return found if is_object(found) and isinstance(found.get("id"), str) else {}


def _executed_part(block: ToolCallBlock | ToolResultBlock) -> Part:
    name = "toolCall" if isinstance(block, ToolCallBlock) else "toolResponse"
    signature = signatures.signature_of(block.provider_metadata)
    return _signed({name: _own_part(block)}, signature)


# The order and the signatures of calls


def _ordered(parts: list[Part], before: list[Part]) -> list[Part]:
    """Return the parts with responses first, in the order of the calls before them."""
    calls = [part["functionCall"]["id"] for part in before if "functionCall" in part]
    places = {call_id: place for place, call_id in reversed(list(enumerate(calls)))}
    responses = [part for part in parts if "functionResponse" in part]
    responses.sort(key=lambda part: places.get(part["functionResponse"]["id"], len(calls)))
    return [*responses, *(part for part in parts if "functionResponse" not in part)]


def _sign_current(contents: list[Content]) -> None:
    """Mark calls of the current turn that no model of Google made, so that they are taken.

    The turn begins with what a person said last; of calls made at once the first one is signed.
    """
    for content in reversed(contents):
        if content["role"] == "user":
            if any("functionResponse" not in part for part in content["parts"]):
                return
            continue
        call = next((part for part in content["parts"] if "functionCall" in part), None)
        if call is not None:
            call.setdefault("thoughtSignature", signatures.SKIP_SIGNATURE)
