"""What the metrics are told of the results of tools."""

import json
from collections.abc import Mapping
from typing import Any

from chatd.core.metrics import UNKNOWN_TOOL, count_tool_result
from chatd.providers.selectors import ModelCall
from chatd.tools.registry import Toolset


def count_result(call: ModelCall, toolset: Toolset, part: Mapping[str, Any]) -> None:
    """Count a stored tool-result part that the server made for a call of the model."""
    name = part.get("tool_name", "")
    count_tool_result(
        call.provider_type,
        call.model,
        name if name in toolset.tools else UNKNOWN_TOOL,
        size=len(json.dumps(part.get("result"), ensure_ascii=False).encode(errors="replace")),
        is_error=bool(part.get("is_error")),
    )
