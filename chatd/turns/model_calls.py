"""What every call of a model shares: where it goes, and how long to wait after a failure."""

from uuid import UUID

from chatd.chats.identity import identity_headers
from chatd.llm.errors import LLMError
from chatd.llm.types import Provider
from chatd.providers.selectors import ModelCall
from config.env import env

MAX_ATTEMPTS = 25
DEFAULT_MAX_OUTPUT_TOKENS = 32_000


def provider_of(call: ModelCall, chat_id: UUID, parent_chat_id: UUID | None = None) -> Provider:
    """Return the target of a call made for a chat of the caller's."""
    return Provider(
        kind=call.provider_type,
        base_url=call.base_url,
        api_key=call.api_key,
        display_name=call.provider_name,
        headers=identity_headers(chat_id, owner_id=call.user_id, parent_chat_id=parent_chat_id),
        aws=call.aws,
    )


def is_of_anthropic(target: ModelCall | Provider) -> bool:
    """Tell whether calls go to Anthropic itself, and not to its models on Bedrock."""
    kind = target.provider_type if isinstance(target, ModelCall) else target.kind
    return kind == "anthropic" and target.aws is None


def back_off_seconds(error: LLMError, failures: int) -> float:
    """Return the pause after the failure of this number; the provider may ask for a longer one."""
    delay = min(env.retry_first_delay_seconds * 2.0 ** (failures - 1), env.retry_max_delay_seconds)
    return max(delay, error.retry_after_seconds or 0)
