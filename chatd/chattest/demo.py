"""The offline demo model: an OpenAI-compatible server with canned, lively answers.

Belongs here: routes, pace, tokens and the staged failures. Does not belong here: the texts
(`demo_answers`), fakes that tests script themselves (`openai`).
"""

import asyncio
import hashlib
import random
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from chatd.chattest import demo_answers
from chatd.chattest.demo_answers import KEYWORDS
from chatd.chattest.openai_wire import short_id, usage_numbers
from chatd.chattest.server import LoopbackServer

__all__ = ["DEMO_MODEL", "KEYWORDS", "DemoServer", "create_demo_app", "serve_demo"]

DEMO_MODEL = "chatd-demo"
WORD_SECONDS = (0.025, 0.040)
SLOW_WORD_SECONDS = 0.5
RETRY_AFTER_SECONDS = 2

Sleep = Callable[[float], Awaitable[None]]

_REMEMBERED_REFUSALS = 1000
_WORD = "demo"
_WORDS = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+$")
_MAX_REQUEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    """What the demo looks at: the user's last text and what came after it."""

    text: str
    tool_result: str | None
    tools: tuple[Mapping[str, Any], ...]
    prompt_tokens: int
    fingerprint: str


def create_demo_app(
    *, pace: float = 1.0, seed: int = 7, sleep: Sleep = asyncio.sleep
) -> web.Application:
    """Return the demo model as an application, at the root and under `/v1`.

    `pace` stretches the time between words: 0 sends them at once, 2 takes twice as long.
    """
    demo = _Demo(pace=pace, seed=seed, sleep=sleep)
    app = web.Application(client_max_size=_MAX_REQUEST_BYTES)
    for prefix in ("", "/v1"):
        app.router.add_post(f"{prefix}/chat/completions", demo.chat_completions)
        app.router.add_get(f"{prefix}/models", demo.models)
    return app


class DemoServer(LoopbackServer):
    """The demo model in a thread: `base_url` is what a provider is configured with."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, pace: float = 1.0) -> None:
        super().__init__(lambda: create_demo_app(pace=pace), host=host, port=port)

    @property
    def base_url(self) -> str:
        return super().base_url + "/v1"


def serve_demo(host: str = "127.0.0.1", port: int = 0, *, pace: float = 1.0) -> DemoServer:
    """Start the demo model in a daemon thread; call `stop()` on what is returned.

    Raises: OSError when the address is taken.
    """
    return DemoServer(host=host, port=port, pace=pace).start()


class _Demo:
    def __init__(self, *, pace: float, seed: int, sleep: Sleep) -> None:
        self._pace = pace
        self._sleep = sleep
        self._jitter = random.Random(seed)
        self._refused: OrderedDict[str, None] = OrderedDict()

    async def models(self, http: web.Request) -> web.Response:
        model = {"id": DEMO_MODEL, "object": "model", "created": 0, "owned_by": "chatd"}
        return web.json_response({"object": "list", "data": [model]})

    async def chat_completions(self, http: web.Request) -> web.StreamResponse:
        try:
            body = orjson.loads(await http.read())
            prompt = _read_prompt(body)
        except (ValueError, TypeError, AttributeError):
            return _error(400, "The request body is not a chat/completions request.")
        asked = demo_answers.asked_for(prompt.text)
        if not body.get("stream"):
            return web.json_response(_whole(body, prompt))
        if "rate limit" in asked and self._refuses(prompt.fingerprint):
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            return _error(429, demo_answers.RATE_LIMIT_MESSAGE, headers)
        if "error" in asked:
            return _error(400, demo_answers.ERROR_MESSAGE)
        return await self._stream(http, body, prompt, asked)

    def _refuses(self, fingerprint: str) -> bool:
        """Refuse a conversation once; its retry is let through."""
        if fingerprint in self._refused:
            del self._refused[fingerprint]
            return False
        self._refused[fingerprint] = None
        if len(self._refused) > _REMEMBERED_REFUSALS:
            self._refused.popitem(last=False)
        return True

    async def _stream(
        self, http: web.Request, body: Mapping[str, Any], prompt: _Prompt, asked: frozenset[str]
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(http)
        head = {
            "id": short_id("chatcmpl-demo-"),
            "object": "chat.completion.chunk",
            "created": 0,
            "model": body.get("model") or DEMO_MODEL,
        }
        written = {"reasoning_content": 0, "content": 0, "tool_calls": 0}
        async for delta in self._deltas(prompt, asked):
            written[next(iter(delta))] += 1
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            await stream.write(_event({**head, "choices": [choice]}))
        reason = "tool_calls" if written["tool_calls"] else "stop"
        choice = {"index": 0, "delta": {}, "finish_reason": reason}
        await stream.write(_event({**head, "choices": [choice]}))
        reasoning = _tokens_of_words(written["reasoning_content"])
        output = reasoning + _tokens_of_words(written["content"]) + 8 * written["tool_calls"]
        usage = usage_numbers(prompt.prompt_tokens, output, reasoning=reasoning)
        await stream.write(_event({**head, "choices": [], "usage": usage}))
        await stream.write(b"data: [DONE]\n\n")
        await stream.write_eof()
        return stream

    async def _deltas(
        self, prompt: _Prompt, asked: frozenset[str]
    ) -> AsyncIterator[dict[str, Any]]:
        for delta in _planned(prompt, asked):
            await self._pause("slow" in asked)
            yield delta

    async def _pause(self, is_slow: bool) -> None:
        seconds = SLOW_WORD_SECONDS if is_slow else self._jitter.uniform(*WORD_SECONDS)
        await self._sleep(seconds * self._pace)


def _planned(prompt: _Prompt, asked: frozenset[str]) -> Iterator[dict[str, Any]]:
    if "reason" in asked:
        for word in split_words(demo_answers.REASONING):
            yield {"reasoning_content": word}
    if prompt.tool_result is not None:
        text = demo_answers.TOOL_RESULT.format(result=prompt.tool_result[:500])
    elif "tool" in asked and prompt.tools:
        yield from _tool_call(prompt.tools[0])
        return
    else:
        text = demo_answers.answer_to(prompt.text, asked)
    for word in split_words(text):
        yield {"content": word}


def split_words(text: str) -> list[str]:
    """Return the words with the blanks before them; joined they are `text` again."""
    return _WORDS.findall(text)


def _tool_call(tool: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    function = tool.get("function") or {}
    arguments = orjson.dumps(_sample(function.get("parameters") or {}, depth=0)).decode()
    opening = {"index": 0, "id": short_id("call_"), "type": "function"}
    yield {"tool_calls": [{**opening, "function": {"name": function.get("name"), "arguments": ""}}]}
    for at in range(0, len(arguments), 12):
        piece = {"index": 0, "function": {"arguments": arguments[at : at + 12]}}
        yield {"tool_calls": [piece]}


def _sample(schema: Mapping[str, Any], *, depth: int) -> Any:
    """Return the simplest value that fits a JSON schema; only required members are filled."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    simple = {"string": _WORD, "integer": 1, "number": 1, "boolean": True, "array": []}
    kind = schema.get("type", "object")
    if kind != "object" or depth > 4:
        return simple.get(kind) if isinstance(kind, str) else None
    properties = schema.get("properties") or {}
    return {
        name: _sample(properties.get(name) or {}, depth=depth + 1)
        for name in schema.get("required") or ()
    }


def _read_prompt(body: Mapping[str, Any]) -> _Prompt:
    messages = body.get("messages") or []
    users = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    last = users[-1] if users else len(messages)
    results = [_text(m) for m in messages[last + 1 :] if m.get("role") == "tool"]
    raw = orjson.dumps(messages)
    return _Prompt(
        text=_text(messages[last]) if users else "",
        tool_result=results[-1] if results else None,
        tools=tuple(body.get("tools") or ()),
        prompt_tokens=max(1, len(raw) // 4),
        fingerprint=hashlib.sha256(raw).hexdigest(),
    )


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part.get("text") or "" for part in content)


def _whole(body: Mapping[str, Any], prompt: _Prompt) -> dict[str, Any]:
    """Return a short answer: calls without a stream ask for titles and labels."""
    is_label = _schema_name(body) == "propose_turn_status_label"
    words = (demo_answers.label_of if is_label else demo_answers.title_of)(prompt.text)
    message = {"role": "assistant", "content": _formatted(words, body)}
    return {
        "id": short_id("chatcmpl-demo-"),
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model") or DEMO_MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage_numbers(prompt.prompt_tokens, _tokens_of_words(len(words.split()))),
    }


def _schema_name(body: Mapping[str, Any]) -> str:
    wanted = body.get("response_format")
    schema = wanted.get("json_schema") if isinstance(wanted, dict) else None
    return str(schema.get("name", "")) if isinstance(schema, dict) else ""


def _formatted(text: str, body: Mapping[str, Any]) -> str:
    """Return the text, or JSON with the text in it where a schema was asked for."""
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return text
    sample = _sample(wanted["json_schema"]["schema"], depth=0)
    filled = {name: text if value == _WORD else value for name, value in sample.items()}
    return orjson.dumps(filled).decode()


def _tokens_of_words(words: int) -> int:
    return words * 4 // 3


def _event(document: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    kind = "rate_limit_exceeded" if status == 429 else "invalid_request_error"
    error = {"error": {"message": message, "type": kind}}
    return web.json_response(error, status=status, headers=headers)
