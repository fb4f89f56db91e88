"""The provider kinds as data, in the order in which every list of the product shows them.

Belongs here: names, display names, default addresses, wire formats. Does not belong here: keys,
configured providers, model catalogs.
"""

from dataclasses import dataclass
from enum import StrEnum

MEBIBYTE = 1024 * 1024


class Wire(StrEnum):
    """How requests and streams of a provider kind are written."""

    OPENAI_CHAT = "openai-chat"
    OPENAI_RESPONSES = "openai-responses"
    ANTHROPIC = "anthropic"
    BEDROCK = "bedrock"
    GEMINI = "gemini"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderKind:
    """`options_key` names the section of stored provider options that belongs to this kind.

    `max_image_bytes`: an image of this size or larger is refused by the provider; None is any.
    """

    name: str
    display_name: str
    default_base_url: str
    wire: Wire
    options_key: str
    max_image_bytes: int | None = None


PROVIDERS: tuple[ProviderKind, ...] = (
    ProviderKind(
        name="anthropic",
        display_name="Anthropic",
        default_base_url="https://api.anthropic.com",
        wire=Wire.ANTHROPIC,
        options_key="anthropic",
        max_image_bytes=5 * MEBIBYTE,
    ),
    ProviderKind(
        name="azure",
        display_name="Azure OpenAI",
        default_base_url="",
        wire=Wire.OPENAI_CHAT,
        options_key="openai",
    ),
    ProviderKind(
        name="bedrock",
        display_name="AWS Bedrock",
        default_base_url="",
        wire=Wire.BEDROCK,
        options_key="anthropic",
        max_image_bytes=5 * MEBIBYTE,
    ),
    ProviderKind(
        name="google",
        display_name="Google",
        default_base_url="https://generativelanguage.googleapis.com",
        wire=Wire.GEMINI,
        options_key="google",
    ),
    ProviderKind(
        name="openai",
        display_name="OpenAI",
        default_base_url="https://api.openai.com/v1",
        wire=Wire.OPENAI_CHAT,
        options_key="openai",
    ),
    ProviderKind(
        name="openai-compat",
        display_name="OpenAI Compatible",
        default_base_url="",
        wire=Wire.OPENAI_CHAT,
        options_key="openaicompat",
    ),
    ProviderKind(
        name="openrouter",
        display_name="OpenRouter",
        default_base_url="https://openrouter.ai/api/v1",
        wire=Wire.OPENAI_CHAT,
        options_key="openrouter",
    ),
    ProviderKind(
        name="vercel",
        display_name="Vercel AI Gateway",
        default_base_url="https://ai-gateway.vercel.sh/v1",
        wire=Wire.OPENAI_CHAT,
        options_key="vercel",
    ),
)

_BY_NAME = {kind.name: kind for kind in PROVIDERS}


def find_kind(name: str) -> ProviderKind | None:
    """Return the kind called `name`, ignoring case and surrounding blanks, or None."""
    return _BY_NAME.get(name.strip().lower())


def display_name(name: str) -> str:
    """Return what people call the kind, or an empty string for an unknown one."""
    kind = find_kind(name)
    return kind.display_name if kind else ""
