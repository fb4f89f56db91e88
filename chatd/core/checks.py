"""System checks: a misconfigured deployment is told so before it serves.

Checks of what is stored ask the database, so they run with `manage.py check --database default`.
"""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004

from chatd.core.coverage import count_by_key, encrypted_columns, total_coverage
from chatd.core.crypto import KeyRing, KeyRingError, key_ring

_HOW_TO_MAKE_KEYS = (
    "Set CHATD_ENCRYPTION_KEYS to base64 text of 32 random bytes (comma list),"
    " the key that encrypts first."
)


@register(Tags.security)
def encryption_keys_are_usable(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """Hold every key of the ring to 32 bytes.

    chatd.E001: a key is malformed. chatd.W001: there is none, which is served without secrets.
    """
    try:
        ring = KeyRing.from_texts(settings.CHATD_ENCRYPTION_KEYS)
    except KeyRingError as error:
        return [Error(str(error), hint=_HOW_TO_MAKE_KEYS, id="chatd.E001")]
    if not ring.primary_id:
        message = "CHATD_ENCRYPTION_KEYS is empty: secrets can be neither read nor stored."
        return [Warning(message, hint=_HOW_TO_MAKE_KEYS, id="chatd.W001")]
    return []


@register(Tags.database)
def secrets_are_under_the_first_key(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Warn of secrets in clear (chatd.W002), under older keys (W003), under no key at hand (W004).

    Damage is found by `rotate_keys --check`, which opens each of them.
    """
    try:
        ring = key_ring()
    except KeyRingError:
        return []  # chatd.E001
    if not databases or not ring.primary_id:
        return []
    found = total_coverage(
        count_by_key(column, ring) for column in encrypted_columns() if column.is_in_database()
    )
    rotate = "Run `manage.py rotate_keys`."
    warnings = [
        (found.clear, "stored in clear", rotate, "chatd.W002"),
        (found.older, "stored under an older key of CHATD_ENCRYPTION_KEYS", rotate, "chatd.W003"),
        (
            found.unreadable,
            "stored under a key that is not in CHATD_ENCRYPTION_KEYS",
            "Add that key at the end of the list, or enter the secrets again.",
            "chatd.W004",
        ),
    ]
    return [
        Warning(f"{number} of {found.total} secrets are {how}.", hint=hint, id=identifier)
        for number, how, hint, identifier in warnings
        if number
    ]
