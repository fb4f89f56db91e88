"""The tools of a turn, as the model is told of them."""

from collections.abc import Sequence
from typing import Any

from chatd.llm.types import ToolSpec


def client_tools(declared: Sequence[dict[str, Any]] | None) -> tuple[ToolSpec, ...]:
    """Return the client-executed tools of a chat; an unusable schema means no parameters."""
    return tuple(
        ToolSpec(
            name=tool["name"],
            description=tool.get("description") or "",
            parameters=_parameters(tool.get("input_schema")),
        )
        for tool in declared or []
    )


def _parameters(schema: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            parameters["properties"] = schema["properties"]
        if isinstance(schema.get("required"), list) and schema["required"]:
            parameters["required"] = schema["required"]
    return parameters
