"""Kinds of settings, and the checks of single ones: what their values may be, and what is refused.

The messages are those that clients of the API know.
"""

from typing import Any
from uuid import UUID

from chatd.core.errors import Validation, bad_request
from chatd.core.prompts import sanitize_prompt
from chatd.preferences import codecs
from chatd.preferences.codecs import Advisor, OverrideMode, PersonalOverride
from chatd.preferences.setting import Kind, Setting

MAX_PROMPT_BYTES = 128 * 1024
MAX_DAYS = 3650
MIN_TTL_MILLIS = 60_000
MAX_TTL_MILLIS = 30 * 24 * 3_600_000
COMPUTER_USE_PROVIDERS = ("anthropic", "openai")


def prompt_setting(refusal: str, **about: Any) -> Setting[str]:
    def check(text: str) -> str:
        cleaned = sanitize_prompt(text)
        if (size := len(cleaned.encode())) > MAX_PROMPT_BYTES:
            limit = f"At most {MAX_PROMPT_BYTES} bytes are allowed, got {size}."
            raise bad_request(refusal, detail=limit)
        return cleaned

    return Setting(
        default="", decode=sanitize_prompt, encode=str, check=check, kind=Kind.TEXT, **about
    )


def flag_setting(*, default: bool = False, **about: Any) -> Setting[bool]:
    return Setting(
        default=default,
        decode=codecs.decode_flag,
        encode=codecs.encode_flag,
        kind=Kind.FLAG,
        **about,
    )


def days_setting(subject: str, *, default: int, **about: Any) -> Setting[int]:
    def decode(text: str) -> int | None:
        days = codecs.decode_whole_number(text)
        return days if days is not None and days <= MAX_DAYS else None

    def check(days: int) -> int:
        if not 0 <= days <= MAX_DAYS:
            raise bad_request(f"{subject} days must be between 0 and {MAX_DAYS}.")
        return days

    return Setting(default=default, decode=decode, encode=str, check=check, kind=Kind.DAYS, **about)


def model_setting(**about: Any) -> Setting[UUID | None]:
    return Setting(
        default=None, decode=codecs.decode_id, encode=codecs.encode_id, kind=Kind.MODEL, **about
    )


# Texts and checks of single settings


def decode_ttl(text: str) -> int | None:
    millis = codecs.decode_millis(text)
    return millis if millis is not None and millis <= MAX_TTL_MILLIS else None


def check_ttl(millis: int) -> int:
    if millis < 0:
        raise bad_request("Workspace TTL must be non-negative.")
    if 0 < millis < MIN_TTL_MILLIS:
        raise bad_request("Workspace TTL must not be less than 1 minute.")
    if millis > MAX_TTL_MILLIS:
        raise bad_request("Workspace TTL must not exceed 30 days.")
    return millis


def decode_computer_use(text: str) -> str | None:
    return text if text in COMPUTER_USE_PROVIDERS else None


def check_computer_use(provider: str) -> str:
    if provider not in COMPUTER_USE_PROVIDERS:
        expected = ", ".join(COMPUTER_USE_PROVIDERS)
        raise bad_request(
            "Invalid computer use provider.",
            detail=f'Expected one of: {expected}. Got "{provider}".',
        )
    return provider


def check_advisor(advisor: Advisor) -> Advisor:
    for name in ("max_uses_per_run", "max_output_tokens"):
        number = getattr(advisor, name)
        if number < 0:
            raise bad_request(f"{name} {number} must be non-negative.")
    return advisor


def check_templates(ids: tuple[UUID, ...]) -> tuple[UUID, ...]:
    """There are no workspace templates in this version, so every id is unknown."""
    if ids:
        missing = ", ".join(str(template_id) for template_id in dict.fromkeys(ids))
        raise bad_request(
            "One or more templates not found or deprecated.", detail=f"Missing IDs: {missing}"
        )
    return ids


def decode_percent(text: str) -> int | None:
    percent = codecs.decode_whole_number(text)
    return percent if percent is not None and percent <= 100 else None


def encode_percent(percent: int | None) -> str:
    return "" if percent is None else str(percent)


def check_percent(percent: int | None) -> int | None:
    if percent is not None and not 0 <= percent <= 100:
        rule = "min" if percent < 0 else "max"
        refused = f'Validation failed for tag "{rule}" with value: "{percent}"'
        wrong = Validation("threshold_percent", refused, "must be 0 to 100.")
        raise bad_request("Validation failed.", validations=[wrong])
    return percent


def check_root_override(override: PersonalOverride) -> PersonalOverride:
    if override.mode == OverrideMode.DEPLOYMENT_DEFAULT:
        raise bad_request("deployment_default is not supported for root personal model overrides.")
    return override
