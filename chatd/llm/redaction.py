"""What is taken out of model calls before they are kept: keys, credentials, bodies nobody can read.

Belongs here: the names that tell secrets, and taking them out of headers, JSON and text. The
deployment's own key of a call is taken out wherever it occurs.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson

from chatd.llm.types import Provider

REDACTED = "[REDACTED]"
UNREADABLE = "[NOT JSON]"
CUT = "[CUT]"
TOO_DEEP = "[TOO DEEP]"
MAX_DEPTH = 60

_WITHIN = ("secret", "password", "authorization", "credential")
_WHOLE = frozenset(
    "key apikey xapikey accesskey accesskeyid privatekey clientkey signingkey encryptionkey authkey"  # noqa: SIM905
    " token accesstoken refreshtoken idtoken apitoken authtoken sessiontoken bearertoken"
    " clienttoken securitytoken xamzsecuritytoken codersessiontoken cookie setcookie"
    " passwd passphrase".split()
)
"""Letters and digits of names, in lower case."""
_NOT_A_LETTER = re.compile(r"[^a-z0-9]")


def is_secret_name(name: str) -> bool:
    """Tell whether a header, a member of JSON or a parameter of this name holds a secret."""
    squeezed = _NOT_A_LETTER.sub("", name.lower())
    return squeezed in _WHOLE or any(word in squeezed for word in _WITHIN)


class Redactor:
    """Takes out of what is kept whatever looks secret, and the secrets of one provider."""

    def __init__(self, provider: Provider | None = None) -> None:
        held = list(provider.secrets) if provider else []
        if provider:
            held += [value for name, value in provider.headers.items() if is_secret_name(name)]
        self._held = sorted(filter(None, held), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text without the key; JSON in it is redacted as JSON is."""
        if text.lstrip()[:1] in {"{", "["}:
            return self._json_text(text)
        return self._without_held(text)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {
            self._without_held(name): REDACTED if is_secret_name(name) else self.text(value)
            for name, value in headers.items()
        }

    def url(self, url: str) -> str:
        """Return an address without user, password and secret parameters."""
        try:
            parts = urlsplit(url)
            query = [
                (name, REDACTED if is_secret_name(name) else value)
                for name, value in parse_qsl(parts.query, keep_blank_values=True)
            ]
        except ValueError:
            return REDACTED
        place = parts.netloc.rpartition("@")[2]
        kept = urlunsplit((parts.scheme, place, parts.path, urlencode(query, safe="[]"), ""))
        return self._without_held(kept)

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return decoded JSON without secrets."""
        if depth > MAX_DEPTH:
            return TOO_DEEP
        match value:
            case str():
                return self.text(value)
            case dict():
                return {
                    self._without_held(name): (
                        REDACTED if is_secret_name(name) else self.value(member, depth + 1)
                    )
                    for name, member in value.items()
                }
            case list() | tuple():
                return [self.value(item, depth + 1) for item in value]
        return value

    def body(self, body: bytes, limit: int) -> str:
        """Return a body as text of at most `limit` bytes and a mark: JSON, or events with JSON.

        Of any other body nothing is told: what cannot be read cannot be redacted. The last event
        of a stream that was cut is left out for that reason.
        """
        if not body.strip():
            return ""
        try:
            kept = orjson.dumps(self.value(orjson.loads(body))).decode()
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            kept = self._events(body)
        encoded = kept.encode()
        if len(encoded) <= limit:
            return kept
        return encoded[:limit].decode(errors="ignore") + CUT

    def _json_text(self, text: str) -> str:
        try:
            decoded = orjson.loads(text)
            redacted = self.value(decoded)
            if redacted == decoded:
                return text
            return orjson.dumps(redacted).decode()
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
            return self._without_held(text)

    def _events(self, body: bytes) -> str:
        text = body.decode(errors="replace")
        lines = text.splitlines()
        if not any(line.startswith("data:") for line in lines):
            return UNREADABLE
        if not text.endswith(("\n", "\r")):
            lines[-1] = CUT
        return "\n".join(map(self._line, lines))

    def _line(self, line: str) -> str:
        if not line or line == CUT or line.startswith(("event:", "id:", "retry:")):
            return self._without_held(line)
        field, _, rest = line.partition(":")
        if field != "data":
            return UNREADABLE
        if rest.strip() == "[DONE]":
            return line
        try:
            return f"data: {orjson.dumps(self.value(orjson.loads(rest))).decode()}"
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return f"data: {UNREADABLE}"

    def _without_held(self, text: str) -> str:
        for secret in self._held:
            text = text.replace(secret, REDACTED)
        return text
