"""Tools that a client carries out (dynamic tools): declared with a chat, answered over the API."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chatd.chats.models import Mode, PlanMode
from chatd.llm.types import ToolSpec

if TYPE_CHECKING:
    from chatd.tools.registry import TurnContext


def declared_tools(context: "TurnContext") -> Sequence[Mapping[str, Any]]:
    """Return what the clients of a chat offer in this turn: nothing while it plans or explores."""
    if context.plan_mode == PlanMode.PLAN or context.mode == Mode.EXPLORE:
        return ()
    return context.dynamic_tools


def client_tools(declared: Sequence[Mapping[str, Any]]) -> tuple[ToolSpec, ...]:
    """Return the client-executed tools of a chat; an unusable schema means no parameters."""
    return tuple(
        ToolSpec(
            name=tool["name"],
            description=tool.get("description") or "",
            parameters=object_parameters(tool.get("input_schema")),
        )
        for tool in declared
    )


def object_parameters(schema: Any) -> dict[str, Any]:
    """Return a schema as models get it: an object, its properties, and which are required."""
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            parameters["properties"] = schema["properties"]
        if isinstance(schema.get("required"), list) and schema["required"]:
            parameters["required"] = schema["required"]
    return parameters
