"""What a tool is: its declaration, what it does to the world, and what a call of it gives back."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from chatd.llm.types import ToolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMedia:
    """An image, sound or other bytes that a tool gave back; `data` is base64 text."""

    data: str = field(repr=False)
    mime_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutput:
    """What a call gave back: a text (JSON or not), an error text, or media with a text."""

    text: str = ""
    is_error: bool = False
    media: ToolMedia | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolInvocation:
    """One call of the model; `arguments` is a JSON object, empty when the model sent none."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that the server carries out.

    `run` may take as long as it needs and is cancelled when the turn is stopped; what it raises
    becomes an error result, which the model reads. `is_read_only`: carrying it out twice does no
    harm, so a call that a lost worker left behind may be made again. `is_exclusive`: it must be
    the only call of its batch. `mcp_server_config_id` is stamped on its calls and results.
    """

    spec: ToolSpec
    run: Callable[[ToolInvocation], Awaitable[ToolOutput]]
    is_read_only: bool = False
    is_exclusive: bool = False
    mcp_server_config_id: UUID | None = None

    @property
    def name(self) -> str:
        return self.spec.name
