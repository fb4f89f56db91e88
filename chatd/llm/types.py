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
    provider_metadata: ProviderMetadata | None = None


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
    With `previous_response_id` the provider knows what was said before `messages`; only the
    Responses wire has it.
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
    previous_response_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsAccess:
    """Where on AWS a model runs, and the credentials to sign with; blank ones are not set."""

    region: str
    access_key: str = field(default="", repr=False)
    access_key_secret: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @property
    def can_sign(self) -> bool:
        return bool(self.access_key and self.access_key_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Where a request goes. `kind` is a name of `providers.PROVIDERS`; secrets stay out of repr.

    With `aws` it runs on AWS Bedrock, whatever the kind.
    """

    kind: str
    base_url: str
    api_key: str = field(default="", repr=False)
    display_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    aws: AwsAccess | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown of it, apart from headers."""
        aws = self.aws or AwsAccess(region="")
        held = (self.api_key.strip(), aws.access_key, aws.access_key_secret, aws.session_token)
        return tuple(filter(None, held))


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEnd:
    """The text that was streamed last is whole; what follows is a block of its own."""

    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningEnd:
    """The reasoning that was streamed last is whole.

    Without any before it, it stands for reasoning that came without text: metadata alone.
    """

    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a call's arguments; the first one of a call may carry no text."""

    id: str
    name: str
    arguments_delta: str
    provider_executed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """The whole call, after its deltas; `arguments` is what the model wrote, `{}` if nothing."""

    id: str
    name: str
    arguments: str
    provider_executed: bool = False
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call gave that the provider carried out; `output` is JSON for people.

    What only the provider can read of it is in `provider_metadata`.
    """

    call_id: str
    name: str
    output: Any
    is_error: bool = False
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedFile:
    """A file that the model made, such as an image."""

    media_type: str
    data: bytes = field(repr=False)
    provider_metadata: ProviderMetadata | None = None


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
    """The whole answer of a call without a stream; its text is empty when there is none.

    Texts that came as blocks of their own have a space between them.
    """

    text: str
    reason: FinishReason
    usage: Usage | None
    response_id: str | None = None


Event = (
    TextDelta
    | TextEnd
    | ReasoningDelta
    | ReasoningEnd
    | ToolCallDelta
    | ToolCall
    | ToolResult
    | Source
    | GeneratedFile
    | Finish
)
