"""Secrets by their kind, everything that came or stayed, and how one is searched for in the other.

Belongs here: collecting and searching. What is done with a product is in the modules beside it.
"""

import html
import json
import math
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

import psycopg
from psycopg import sql
from redis import Redis

from tests.support.product import ADMIN_PASSWORD, Product

ENCRYPTION_KEY = "Y2FuYXJ5LWVuY3J5cHRpb24ta2V5LTMyLWJ5dGVzISE="
LATER_ENCRYPTION_KEY = "YS1sYXRlci1lbmNyeXB0aW9uLWtleS0zMi1ieXRlcyE="
OTHER_ENCRYPTION_KEY = "YW4tZW5jcnlwdGlvbi1rZXktb2YtbjAtdXNlLWhlcmU="

KINDS = (
    # of the deployment
    "session secret",
    "encryption key",
    "administrator's password",
    # of model providers
    "provider key",
    "second provider key",
    "refused provider key",
    "tried provider key",
    "form provider key",
    "older provider key",
    "own key",
    "bedrock access key",
    "bedrock secret",
    # of people
    "password",
    "new password",
    "wrong password",
    "password given in the administration",
    "password made in the administration",
    "refused password",
    "token of a command",
    "token of a sign-in",
    "token of the API",
    "token of the settings",
    # of MCP servers
    "MCP key",
    "MCP header",
    "MCP client secret",
    "refused MCP secret",
    "MCP client secret of a registration",
    "MCP authorization code",
    "MCP state",
    "MCP verifier",
    "MCP access token",
    "MCP refresh token",
    # of the identity provider
    "sign-in client secret",
    "sign-in code",
    "sign-in state",
    "sign-in nonce",
    "sign-in verifier",
    "sign-in ID token",
    "sign-in access token",
    "sign-in refresh token",
)
"""Every kind of secret that the product is given or makes."""


@dataclass
class Secrets:
    """The texts of each kind. A kind that nothing was kept of is searched for in vain."""

    texts: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})

    def __post_init__(self) -> None:
        self.keep("administrator's password", ADMIN_PASSWORD)
        self.keep("encryption key", ENCRYPTION_KEY, LATER_ENCRYPTION_KEY, OTHER_ENCRYPTION_KEY)

    def plant(self, kind: str) -> str:
        """Return a text to hand in as a secret of a kind, a new one each time."""
        text = f"canary-{kind.replace(' ', '-')}-{len(self.texts[kind])}-5d1f"
        self.keep(kind, text)
        return text

    def keep(self, kind: str, *texts: str) -> None:
        """Search for what was made on the way too."""
        assert all(len(text) >= 8 for text in texts), (kind, texts)
        self.texts[kind].update(texts)


def forms(secret: str) -> set[bytes]:
    """Return a secret as it may be written: as it is, in JSON, HTML, a URL, Base64, hexadecimal."""
    written = {secret, json.dumps(secret)[1:-1], html.escape(secret)}
    written |= {quote(secret), quote(secret, safe=""), quote_plus(secret), secret.encode().hex()}
    for before in range(3):
        # the characters that depend on nothing but the secret, wherever it begins
        shifted = b"\0" * before + secret.encode()
        own = slice(math.ceil(before * 8 / 6), len(shifted) * 8 // 6)
        written |= {b64encode(shifted).decode()[own], urlsafe_b64encode(shifted).decode()[own]}
    return {text.encode() for text in written}


def holders(found: dict[str, bytes], secret: str) -> list[str]:
    """Return where a secret stands, in whatever form."""
    wanted = forms(secret)
    return [name for name, text in found.items() if any(form in text for form in wanted)]


# what a product keeps

_SESSIONS = """
from django.contrib.sessions.models import Session
for session in Session.objects.all():
    print(session.get_decoded())
"""


def kept_by(product: Product, moment: str) -> dict[str, bytes]:
    """Return all that a product has stored by now: files, rows, sessions, what is in its Redis."""
    found = {f"file {p.name}": p.read_bytes() for p in product.data.rglob("*") if p.is_file()}
    found |= {f"rows of {name}": rows for name, rows in _rows(product)}
    found["sessions"] = product.shell(_SESSIONS).encode()
    if product.redis is not None:
        found |= dict(_cached(product.redis.url))
    return {f"{name} {moment}": content for name, content in found.items()}


def _rows(product: Product) -> Iterator[tuple[str, bytes]]:
    database_url = product.environment.get("DATABASE_URL")
    return _copied(database_url) if database_url else _dumped(product)


def _dumped(product: Product) -> Iterator[tuple[str, bytes]]:
    connection = sqlite3.connect(product.data / "chatd.sqlite3")
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            values = (value for row in rows for value in row)
            yield name, b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in values)
    finally:
        connection.close()


def _copied(database_url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(database_url) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        for (name,) in connection.execute(query).fetchall():
            copy = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
            with connection.cursor().copy(copy) as rows:
                yield name, b"".join(map(bytes, rows))


def _cached(url: str) -> Iterator[tuple[str, bytes]]:
    with Redis.from_url(url) as redis:
        for key in redis.scan_iter():
            read = {
                b"string": redis.get,
                b"list": lambda name: redis.lrange(name, 0, -1),
                b"hash": redis.hgetall,
                b"set": redis.smembers,
                b"zset": lambda name: redis.zrange(name, 0, -1),
                b"stream": redis.xrange,
            }[redis.type(key)]
            yield f"redis {key!r}", b"%r %r" % (key, read(key))
