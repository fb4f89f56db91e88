"""Values that go to a model provider and come back, the same for every wire format.

Belongs here: immutable values without behaviour. Does not belong here: JSON of any wire, stored
message parts, prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool the model may call; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


ProviderMetadata = Mapping[str, Mapping[str, Any]]
"""What a provider wants back with a block, by provider kind: signatures, item ids, encrypted text.

Only the wire that wrote a section reads it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBlock:
    text: str
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBlock:
    """An attachment with its bytes; wires send images and PDFs and drop other media types."""

    media_type: str
    data: bytes = field(repr=False)
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningBlock:
    """Earlier reasoning; its text is empty where only `provider_metadata` can carry it."""

    text: str
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallBlock:
    """A call the model made earlier; `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str
    provider_executed: bool = False
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResultBlock:
    """What a call gave; `output` is text beside `media`, which not every wire can send."""

    call_id: str
    name: str
    output: str
    media: FileBlock | None = None
    is_error: bool = False
    provider_executed: bool = False
    provider_metadata: ProviderMetadata | None = None


UserBlock = TextBlock | FileBlock
AssistantBlock = TextBlock | ReasoningBlock | ToolCallBlock | ToolResultBlock | FileBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMessage:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    blocks: tuple[UserBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    """An answer of the model; results in it are those of calls that the provider carried out."""

    blocks: tuple[AssistantBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolMessage:
    results: tuple[ToolResultBlock, ...]


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSchema:
    """What the answer has to be: JSON of this schema. Servers that know no schemas send text."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One model call. `None` leaves a parameter to the provider.

    `provider_options` maps sections, one per family of providers, to the options in `options`.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    output: OutputSchema | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    provider_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where a request goes. `kind` is a name of `providers.PROVIDERS`; secrets stay out of repr."""

    kind: str
    base_url: str
    api_key: str = field(default="", repr=False)
    display_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a call's arguments; the first one of a call may carry no text."""

    id: str
    name: str
    arguments_delta: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The whole call, after its deltas; `arguments` is what the model wrote, `{}` if nothing."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    id: str
    url: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call in normal form; `None` means the provider did not report the number.

    `input` excludes `cache_read` and is never negative, `output` includes `reasoning`, `total`
    is the provider's own number.
    """

    input: int | None = None
    output: int | None = None
    total: int | None = None
    reasoning: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The last event of every stream that ended well; `context_limit` is in tokens."""

    reason: FinishReason
    usage: Usage | None
    response_id: str | None = None
    context_limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The whole answer of a call without a stream; its text is empty when there is none."""

    text: str
    reason: FinishReason
    usage: Usage | None
    response_id: str | None = None


Event = TextDelta | ReasoningDelta | ToolCallDelta | ToolCall | Source | Finish
