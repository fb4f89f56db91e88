"""A provider as it is to be: what was asked for, and everything that is wrong with it.

One set of checks for the API and the admin. The database holds the rest: names, and flags that
leave a provider without any key.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from uuid import UUID

from django.core.exceptions import ValidationError

from chatd.core.errors import Validation, bad_request
from chatd.providers.bedrock import TYPES, BedrockChanges, BedrockSettings
from chatd.providers.keys import MAX_KEY_BYTES
from chatd.providers.models import (
    MAX_BASE_URL,
    MAX_DISPLAY_NAME,
    MAX_NAME,
    NAME_PATTERN,
    AIProvider,
    ProviderType,
    validate_http_url,
)

RESERVED_NAMES = frozenset({"test"})
"""Names whose path is a route of its own."""

INVALID = "Invalid AI provider request."
NO_KEYS = "Bedrock providers do not accept api_keys; configure access credentials via settings."
_WITHOUT_KEYS = {
    ProviderType.BEDROCK: NO_KEYS,
    ProviderType.COPILOT: "Copilot providers do not accept api_keys.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """A key that a provider is to have: a stored one by its id, or a new one."""

    id: UUID | None = None
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProvider:
    """A provider to be made."""

    type: str
    name: str
    base_url: str
    display_name: str = ""
    enabled: bool = True
    api_keys: Sequence[str] = field(default=(), repr=False)
    settings: BedrockChanges | None = None
    central_api_key_enabled: bool = True
    allow_user_api_key: bool = True
    allow_central_api_key_fallback: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChanges:
    """What is to change; None is no change. `api_keys` is the whole list of keys to be."""

    display_name: str | None = None
    enabled: bool | None = None
    base_url: str | None = None
    api_keys: Sequence[WantedKey] | None = field(default=None, repr=False)
    settings: BedrockChanges | None = None
    central_api_key_enabled: bool | None = None
    allow_user_api_key: bool | None = None
    allow_central_api_key_fallback: bool | None = None

    @property
    def is_empty(self) -> bool:
        return all(getattr(self, each.name) is None for each in fields(self))


def check_new_provider(new: NewProvider) -> None:
    """Raise the 400 for what can be told of a new provider alone."""
    _refuse(
        *_wrong_type(new.type),
        *_wrong_name(new.name),
        *_wrong_display_name(new.display_name),
        *_wrong_base_url(new.base_url),
        *(wrong for key in new.api_keys for wrong in _wrong_key(key)),
        *_wrong_settings(new.type, new.settings.applied_to(None) if new.settings else None),
        *(_wrong_keys_of(new.type) if new.api_keys else ()),
    )
    if new.api_keys and new.settings is not None:
        raise bad_request(NO_KEYS)


def check_provider_changes(changes: ProviderChanges) -> None:
    """Raise the 400 for what can be told of changes alone."""
    if changes.is_empty:
        raise bad_request("At least one field must be provided.")
    keys = changes.api_keys or ()
    ids = [key.id for key in keys if key.id is not None]
    _refuse(
        *_wrong_display_name(changes.display_name or ""),
        *(_wrong_base_url(changes.base_url) if changes.base_url is not None else ()),
        *(wrong for key in keys for wrong in _wrong_entry(key)),
        *([Validation("api_keys", "names an id twice")] if len(set(ids)) < len(ids) else ()),
    )


def check_takes_keys(provider: AIProvider, changes: ProviderChanges) -> None:
    """Raise the 400 for new keys of a kind that takes none."""
    if any(key.api_key for key in changes.api_keys or ()):
        _refuse(*_wrong_keys_of(provider.type))


def check_changed_provider(
    provider: AIProvider, changes: ProviderChanges, settings: BedrockSettings | None
) -> None:
    """Raise the 400 for a provider, as it will be, whose keys and settings do not go together."""
    if changes.settings is not None:
        _refuse(*_wrong_settings(provider.type, settings))
    wanted = changes.api_keys
    has_keys = bool(wanted) if wanted is not None else provider.keys.exists()
    changes_either = changes.settings is not None or wanted is not None
    if provider.settings and has_keys and changes_either:
        raise bad_request(NO_KEYS)


def _refuse(*wrong: Validation) -> None:
    if wrong:
        raise bad_request(INVALID, validations=wrong)


def _wrong_type(kind: str) -> Iterator[Validation]:
    if not kind:
        yield Validation("type", "is required")
    elif kind not in ProviderType.values:
        yield Validation("type", f"must be one of: {', '.join(ProviderType.values)}")


def _wrong_name(name: str) -> Iterator[Validation]:
    if not re.fullmatch(NAME_PATTERN, name):
        yield Validation("name", f"must match {NAME_PATTERN}")
    elif len(name) > MAX_NAME:
        yield Validation("name", f"must be at most {MAX_NAME} characters")
    elif name in RESERVED_NAMES:
        yield Validation("name", f'"{name}" is reserved')


def _wrong_display_name(name: str) -> Iterator[Validation]:
    if len(name) > MAX_DISPLAY_NAME:
        yield Validation("display_name", f"must be at most {MAX_DISPLAY_NAME} characters")
    elif any(character < " " for character in name):
        yield Validation("display_name", "must be one line of text")


def _wrong_base_url(url: str) -> Iterator[Validation]:
    if reason := why_no_base_url(url):
        yield Validation("base_url", reason)


def why_no_base_url(url: str) -> str:
    """Return why a provider cannot be called at a URL; empty when it can."""
    if not url:
        return "is required"
    if len(url) > MAX_BASE_URL:
        return f"must be at most {MAX_BASE_URL} characters"
    try:
        validate_http_url(url)
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def _wrong_entry(key: WantedKey) -> Iterator[Validation]:
    if (key.id is None) == (key.api_key is None):
        yield Validation("api_keys", "each entry needs exactly one of id and api_key")
    elif key.api_key is not None:
        yield from _wrong_key(key.api_key)


def _wrong_key(api_key: str) -> Iterator[Validation]:
    if not api_key:
        yield Validation("api_keys", "a key must not be empty")
    elif api_key != api_key.strip():
        yield Validation("api_keys", "a key must not begin or end with whitespace")
    elif len(api_key.encode()) > MAX_KEY_BYTES:
        yield Validation("api_keys", f"a key must be at most {MAX_KEY_BYTES} bytes")


def _wrong_keys_of(kind: str) -> Iterator[Validation]:
    for known, reason in _WITHOUT_KEYS.items():
        if kind == known:
            yield Validation("api_keys", reason)


def _wrong_settings(kind: str, settings: BedrockSettings | None) -> Iterator[Validation]:
    if settings is None:
        if kind == ProviderType.BEDROCK:
            yield Validation("settings", "Bedrock providers need a region or credentials")
    elif kind not in TYPES:
        yield Validation("settings", "Bedrock settings are for anthropic and bedrock alone")
    elif not settings.is_complete:
        yield Validation("settings", "a region, or access_key and access_key_secret, are required")
