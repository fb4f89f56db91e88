"""Secrets at rest: AES-256-GCM under a key ring.

The first key of the ring writes, every key reads. A stored value is
`v1:<key id>:<base64 of nonce and ciphertext>`; the key id is a digest of the key, so that a value
tells which key it needs. A blank value is no secret and stays blank; what has no such prefix was
stored in clear. Plain text of a secret never appears in an error or a repr.
"""

import binascii
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db.models import TextChoices

_PREFIX = "v1"
_KEY_ID_CHARS = 12
_NONCE_BYTES = 12
_KEY_BYTES = 32
_SEALED = re.compile(r"v\d+:")

HEAD_CHARS = len(f"{_PREFIX}:") + _KEY_ID_CHARS + 1
"""Length of the beginning of a stored value, which tells its key."""


class KeyRingError(Exception):
    """The configured key ring cannot be used."""


class UndecryptableError(Exception):
    """A stored secret needs a key that the ring does not hold, or was damaged: re-enter it."""


class SecretState(TextChoices):
    """What can be said of one stored secret without showing it; the labels are for people."""

    BLANK = "blank", "none"
    CURRENT = "current", "stored"
    OLDER = "older", "stored, under an older encryption key"
    CLEAR = "clear", "stored in clear"
    KEY_MISSING = "key_missing", "needs to be entered again: its encryption key is missing"
    DAMAGED = "damaged", "needs to be entered again: what is stored is damaged"

    @property
    def needs_reentry(self) -> bool:
        return self in (SecretState.KEY_MISSING, SecretState.DAMAGED)


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    cipher: AESGCM = field(repr=False)


class KeyRing:
    """An ordered set of keys; the first one encrypts. An empty one opens nothing."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = [_Key(sha256(key).hexdigest()[:_KEY_ID_CHARS], AESGCM(key)) for key in keys]
        self._by_id = {key.id: key for key in self._keys}

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "KeyRing":
        """Build a ring from base64 texts of 32 bytes. Raises KeyRingError."""
        return cls([_parse_key(text, number) for number, text in enumerate(texts, start=1)])

    @property
    def primary_id(self) -> str:
        """The id of the key that encrypts; blank in an empty ring."""
        return self._keys[0].id if self._keys else ""

    @property
    def prefix(self) -> str:
        """The beginning of every value that the primary key has sealed."""
        return f"{_PREFIX}:{self.primary_id}:"

    def encrypt(self, plain: str) -> str:
        """Return the stored form of `plain` under the primary key. Raises KeyRingError."""
        if not self._keys:
            raise KeyRingError("CHATD_ENCRYPTION_KEYS is empty.")
        key, nonce = self._keys[0], secrets.token_bytes(_NONCE_BYTES)
        # An encoding error would carry the secret, so there must be none.
        sealed = key.cipher.encrypt(nonce, plain.encode(errors="surrogatepass"), key.id.encode())
        return self.prefix + b64encode(nonce + sealed).decode()

    def decrypt(self, stored: str) -> str:
        """Return the plain text. Raises UndecryptableError when no key of the ring opens it."""
        version, _, rest = stored.partition(":")
        key_id, _, body = rest.partition(":")
        key = self._by_id.get(key_id)
        if version != _PREFIX or key is None:
            raise UndecryptableError("The secret was stored under a key that is not configured.")
        try:
            raw = b64decode(body, validate=True)
            plain = key.cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], key_id.encode())
            return plain.decode(errors="surrogatepass")
        except (InvalidTag, ValueError, binascii.Error):
            raise UndecryptableError("The stored secret is damaged.") from None

    def open(self, stored: str) -> str:
        """Return the plain text; what is blank or was stored in clear comes back as it is.

        Raises UndecryptableError.
        """
        return self.decrypt(stored) if _SEALED.match(stored) else stored

    def state_by_head(self, stored: str) -> SecretState:
        """Return the state as the first `HEAD_CHARS` tell it: damage behind them is not seen."""
        if not stored:
            return SecretState.BLANK
        if not _SEALED.match(stored):
            return SecretState.CLEAR
        version, key_id = stored.split(":", 2)[:2]
        if version != _PREFIX:
            return SecretState.DAMAGED
        if key_id not in self._by_id:
            return SecretState.KEY_MISSING
        return SecretState.CURRENT if key_id == self.primary_id else SecretState.OLDER

    def state(self, stored: str) -> SecretState:
        """Return the state of a stored value, after trying to open it."""
        state = self.state_by_head(stored)
        try:
            self.open(stored)
        except UndecryptableError:
            return state if state.needs_reentry else SecretState.DAMAGED
        return state


def _parse_key(text: str, number: int) -> bytes:
    named = f"Key {number} of CHATD_ENCRYPTION_KEYS"
    try:
        key = b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise KeyRingError(f"{named} is not valid base64 text.") from None
    if len(key) != _KEY_BYTES:
        raise KeyRingError(f"{named} must be {_KEY_BYTES} bytes, got {len(key)}.")
    return key


@lru_cache(maxsize=4)
def _ring(texts: tuple[str, ...]) -> KeyRing:
    return KeyRing.from_texts(texts)


def key_ring() -> KeyRing:
    """Return the ring of this deployment. Raises KeyRingError."""
    return _ring(tuple(settings.CHATD_ENCRYPTION_KEYS))


def reading_ring() -> KeyRing:
    """Return the ring of this deployment; one that cannot be used opens nothing."""
    try:
        return key_ring()
    except KeyRingError:
        return KeyRing([])
