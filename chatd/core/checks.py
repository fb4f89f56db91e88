"""System checks: a misconfigured deployment is told so before it serves."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from chatd.core.crypto import KeyRing, KeyRingError


@register(Tags.security)
def encryption_keys_are_usable(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """chatd.E001: the key ring for secrets at rest must hold at least one 32-byte key."""
    try:
        KeyRing.from_texts(settings.CHATD_ENCRYPTION_KEYS)
    except KeyRingError as error:
        return [
            Error(
                str(error),
                hint="Set CHATD_ENCRYPTION_KEYS to base64 text of 32 random bytes (comma list).",
                id="chatd.E001",
            )
        ]
    return []
