"""The Gemini wire: bytes of a stream to events, in any cut.

Belongs here: how this wire tells text, thoughts, calls, files, searches and the end. Does not
belong here: HTTP, requests (`request`), what a search found (`grounding`).
"""

import binascii
import hashlib
import uuid
from base64 import b64decode
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chatd.llm.call_ids import safe_call_id
from chatd.llm.error_answers import read_error_body
from chatd.llm.errors import LLMError, broken_stream
from chatd.llm.types import (
    Event,
    Finish,
    FinishReason,
    GeneratedFile,
    Provider,
    ReasoningDelta,
    ReasoningEnd,
    Request,
    TextDelta,
    TextEnd,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from chatd.llm.wires.decoding import NO_STREAM, StreamDecoder, is_json, is_object
from chatd.llm.wires.gemini import signatures
from chatd.llm.wires.gemini.chunks import (
    Candidate,
    Chunk,
    Part,
    arguments_of,
    fault,
    server_id,
    server_tool,
)
from chatd.llm.wires.gemini.grounding import Search
from chatd.llm.wires.gemini.signatures import Range
from chatd.llm.wires.gemini.usage import FAULTS, reason_of, usage_of

MAX_KEPT_CHARS = 16 * 1024 * 1024
"""Of arguments and signatures together."""


@dataclass(slots=True)
class _Run:
    """Parts of text, or of thoughts, that follow each other: one block for whoever reads it."""

    is_thought: bool
    length: int = 0
    signed: list[Range] = field(default_factory=list)


class Decoder(StreamDecoder):
    """Reads one streamed answer of this wire.

    No event says that it is the last one: what counts comes until the body ends, the reason of
    the end, the tokens and what a search found among it.
    """

    def __init__(self, request: Request, provider: Provider) -> None:
        super().__init__(request, provider)
        self._chunks = msgspec.json.Decoder(Chunk)
        self._place = len(request.messages)
        self._run: _Run | None = None
        self._call_ids: set[str] = set()
        self._has_calls = False
        self._has_spoken = False
        self._kept_chars = 0
        self._search = Search()
        self._reason: FinishReason | None = None
        self._reported: Any = None
        self._response_id: str | None = None

    @property
    def answered(self) -> bool:
        """Whether a reason came: a body that ends without one was cut."""
        return self._reason is not None

    def _take(self, data: bytes, out: list[Event]) -> None:
        try:
            chunk = self._chunks.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._odd(data)
            return
        if chunk.error:
            self.failure = self._error_in(data)
            return
        self._chunk(chunk, out)

    def _odd(self, data: bytes) -> None:
        """Take an event that is no chunk: an error in a list, or nothing that can be read."""
        if is_json(data) and read_error_body(data).message:
            self.failure = self._error_in(data)
        else:
            self._break()

    def _ended(self, out: list[Event]) -> None:
        if self.answered:
            self._finish(out)
        else:
            self._break("")

    def _closed_early(self) -> LLMError:
        """Return what is wrong: an error may stand behind the events, as JSON that is no event."""
        stray = self._framing.stray.strip()
        if stray and is_json(stray) and read_error_body(stray).message:
            return self._error_in(stray)
        return broken_stream(self._provider, NO_STREAM if stray and not self.events_seen else "")

    def _chunk(self, chunk: Chunk, out: list[Event]) -> None:
        if self._response_id is None and isinstance(chunk.response_id, str) and chunk.response_id:
            self._response_id = chunk.response_id
        if chunk.usage_metadata:
            self._reported = chunk.usage_metadata
        for candidate in chunk.candidates or ():
            if not candidate.index:  # further ones are other answers to the same question
                self._candidate(candidate, out)
        feedback = chunk.prompt_feedback if is_object(chunk.prompt_feedback) else {}
        if self._reason is None and feedback.get("blockReason"):
            self._reason = FinishReason.CONTENT_FILTER

    def _candidate(self, candidate: Candidate, out: list[Event]) -> None:
        for part in (candidate.content and candidate.content.parts) or ():
            self._part(part, out)
            if self.failure:
                return
        self._search.add(candidate.grounding_metadata)
        if candidate.finish_reason in FAULTS and not self._has_spoken:
            self.failure = fault(candidate, self._provider)
        elif candidate.finish_reason:
            self._reason = reason_of(candidate.finish_reason)

    def _part(self, part: Part, out: list[Event]) -> None:
        given = part.thought_signature
        signature = given if isinstance(given, str) and given else None
        self._keep(len(signature or ""))
        if is_object(part.function_call):
            self._call(part.function_call, signature, out)
        elif is_object(part.tool_call):
            self._server_call(part.tool_call, signature, out)
        elif is_object(part.tool_response):
            self._server_response(part.tool_response, signature, out)
        elif is_object(part.inline_data):
            if part.thought is not True:  # a sketch on the way to the image
                self._file(part.inline_data, signature, out)
        elif isinstance(part.text, str) or signature:
            text = part.text if isinstance(part.text, str) else ""
            self._text(text, signature, out, is_thought=part.thought is True)

    def _text(
        self, text: str, signature: str | None, out: list[Event], *, is_thought: bool
    ) -> None:
        if not text and not signature:
            return
        run = self._run
        if run is None or run.is_thought is not is_thought:
            self._end_run(out)
            run = self._run = _Run(is_thought)
        start = run.length
        if text:
            run.length += len(text)
            self._has_spoken = self._has_spoken or not is_thought
            out.append(ReasoningDelta(text=text) if is_thought else TextDelta(text=text))
        if signature:
            run.signed.append(Range(start, run.length, signature))

    def _end_run(self, out: list[Event]) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        metadata = signatures.of_text(run.signed, run.length)
        if run.is_thought:
            out.append(ReasoningEnd(provider_metadata=metadata))
        else:
            out.append(TextEnd(provider_metadata=metadata))

    def _call(self, call: dict[str, Any], signature: str | None, out: list[Event]) -> None:
        self._end_run(out)
        arguments = arguments_of(call.get("args"))
        self._keep(len(arguments))
        if self.failure:
            return
        self._has_calls = self._has_spoken = True
        name = call.get("name")
        name = name if isinstance(name, str) else ""
        call_id, given = self._new_id(call.get("id"))
        changed = given if given and given != safe_call_id(call_id) else None
        metadata = signatures.of_part(signature, call_id=changed)
        out.append(ToolCallDelta(id=call_id, name=name, arguments_delta=arguments))
        out.append(ToolCall(id=call_id, name=name, arguments=arguments, provider_metadata=metadata))

    def _new_id(self, given: Any) -> tuple[str, str | None]:
        """Return an id that no other call of the answer has, and the one that Google gave."""
        wire_id = given if isinstance(given, str) and given else None
        call_id = wire_id if wire_id and wire_id not in self._call_ids else self._own_id()
        self._call_ids.add(call_id)
        return call_id, wire_id

    def _own_id(self) -> str:
        """Return an id of ours; the same answer gets the same ones, however it is cut.

        The place in the conversation is in it, for servers that name all their answers alike.
        """
        answer = self._response_id or uuid.uuid4().hex
        seed = f"{answer}:{self._place}:{len(self._call_ids)}"
        return f"call_{hashlib.sha256(seed.encode()).hexdigest()[:24]}"

    def _server_call(self, call: dict[str, Any], signature: str | None, out: list[Event]) -> None:
        """Take a call that Google carries out itself."""
        self._end_run(out)
        arguments = arguments_of(call.get("args"))
        self._keep(2 * len(arguments))
        call_id = server_id(call)
        if self.failure or not call_id:
            return
        self._search.is_told = self._has_spoken = True
        self._call_ids.add(call_id)
        name = server_tool(call)
        out.append(
            ToolCallDelta(id=call_id, name=name, arguments_delta=arguments, provider_executed=True)
        )
        out.append(
            ToolCall(
                id=call_id,
                name=name,
                arguments=arguments,
                provider_executed=True,
                provider_metadata=signatures.of_part(signature, tool_call=call),
            )
        )

    def _server_response(
        self, response: dict[str, Any], signature: str | None, out: list[Event]
    ) -> None:
        self._end_run(out)
        self._keep(2 * len(msgspec.json.encode(response)))
        call_id = server_id(response)
        if self.failure or not call_id:
            return
        output = response.get("response")
        out.append(
            ToolResult(
                call_id=call_id,
                name=server_tool(response),
                output=output if is_object(output) else {},
                provider_metadata=signatures.of_part(signature, tool_response=response),
            )
        )

    def _file(self, inline: dict[str, Any], signature: str | None, out: list[Event]) -> None:
        self._end_run(out)
        encoded, media_type = inline.get("data"), inline.get("mimeType")
        if not isinstance(encoded, str) or not isinstance(media_type, str):
            return
        try:
            content = b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return
        if content:
            self._has_spoken = True
            metadata = signatures.of_part(signature)
            out.append(
                GeneratedFile(media_type=media_type, data=content, provider_metadata=metadata)
            )

    def _keep(self, chars: int) -> None:
        self._kept_chars += chars
        if self._kept_chars > MAX_KEPT_CHARS:
            self._break("The tool calls are too large.")

    def _complete(self, out: list[Event]) -> None:
        self._end_run(out)
        out.extend(self._search.events(self._own_id))
        reason = self._reason or FinishReason.UNKNOWN
        if reason is FinishReason.STOP and self._has_calls:
            reason = FinishReason.TOOL_CALLS
        usage = usage_of(self._reported)
        out.append(Finish(reason=reason, usage=usage, response_id=self._response_id))
