"""JSON answers: a newline at the end, an explicit charset, whatever the request accepts."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


def encode_json(value: Any) -> bytes:
    """Return `value` as JSON, also integers and nesting that orjson refuses (from tools)."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return msgspec.json.encode(value)


_HTML = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))


class ContractJSONRenderer(BaseRenderer):
    """Answers every request with JSON, whatever it says it accepts."""

    media_type = "application/json"
    format = "json"
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        body = encode_json(data)
        # An answer that is taken for HTML all the same has no markup; in JSON these only stand in
        # texts, where an escape means the same.
        for character, escaped in _HTML:
            body = body.replace(character, escaped)
        return body + b"\n"


class JSONOnly(BaseContentNegotiation):
    """Nothing is negotiated: no Accept header and no `format` parameter is a reason to refuse."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser:
        return next(iter(parsers))

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
