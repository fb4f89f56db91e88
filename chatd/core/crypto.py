"""Secrets at rest: AES-256-GCM under a key ring.

The first key of the ring writes, every key reads. A stored value is
`v1:<key id>:<base64 of nonce and ciphertext>`; the key id is a digest of the key, so that a value
tells which key it needs. Plain text of a secret never appears in an error or a repr.
"""

import binascii
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_PREFIX = "v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class KeyRingError(Exception):
    """The configured key ring cannot be used."""


class UndecryptableError(Exception):
    """A stored secret needs a key that the ring does not hold, or was damaged: re-enter it."""


@dataclass(frozen=True, slots=True)
class _Key:
    id: str
    cipher: AESGCM = field(repr=False)


class KeyRing:
    """An ordered set of keys; the first one encrypts."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys = [_Key(sha256(key).hexdigest()[:12], AESGCM(key)) for key in keys]
        if not self._keys:
            raise KeyRingError("The encryption key ring is empty.")
        self._by_id = {key.id: key for key in self._keys}

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "KeyRing":
        """Build a ring from base64 texts of 32 bytes. Raises KeyRingError."""
        return cls([_parse_key(text) for text in texts])

    @property
    def primary_id(self) -> str:
        return self._keys[0].id

    def encrypt(self, plain: str) -> str:
        """Return the stored form of `plain` under the primary key."""
        key, nonce = self._keys[0], secrets.token_bytes(_NONCE_BYTES)
        sealed = key.cipher.encrypt(nonce, plain.encode(), key.id.encode())
        return f"{_PREFIX}:{key.id}:{b64encode(nonce + sealed).decode()}"

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
        except (InvalidTag, ValueError, binascii.Error):
            raise UndecryptableError("The stored secret is damaged.") from None
        return plain.decode()


def _parse_key(text: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise KeyRingError("An encryption key is not valid base64 text.") from None
    if len(key) != _KEY_BYTES:
        raise KeyRingError(f"An encryption key must be {_KEY_BYTES} bytes, got {len(key)}.")
    return key


@lru_cache(maxsize=4)
def _ring(texts: tuple[str, ...]) -> KeyRing:
    return KeyRing.from_texts(texts)


def key_ring() -> KeyRing:
    """Return the ring of this deployment. Raises KeyRingError."""
    return _ring(tuple(settings.CHATD_ENCRYPTION_KEYS))
