"""JSON answers: orjson, a newline at the end, an explicit charset."""

from collections.abc import Mapping
from typing import Any

import orjson
from rest_framework.renderers import BaseRenderer


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
        return orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)
