"""The secrets of a server: how they are stored, read and judged. Nothing here shows one."""

from collections.abc import Mapping

import msgspec

from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret, seal, secret_state
from chatd.mcp.models import AuthType, MCPServerConfig

SECRETS: Mapping[str, AuthType] = {
    "oauth2_client_secret": AuthType.OAUTH2,
    "api_key_value": AuthType.API_KEY,
    "custom_headers": AuthType.CUSTOM_HEADERS,
}
"""Encrypted columns, with the kind of server that each is for."""


def seal_headers(headers: Mapping[str, str]) -> str:
    """Return the stored form of headers; blank for none. Raises ChatdError 503."""
    return seal(msgspec.json.encode(dict(headers)).decode()) if headers else ""


def open_headers(server: MCPServerConfig) -> dict[str, str]:
    """Return the headers of a server. Raises UndecryptableError."""
    plain = open_secret(server.custom_headers)
    try:
        return msgspec.json.decode(plain, type=dict[str, str]) if plain else {}
    except msgspec.MsgspecError:
        raise UndecryptableError("The stored headers are damaged.") from None


def unreadable_secrets(server: MCPServerConfig) -> list[str]:
    """Return the names of the secrets that have to be entered again."""
    return [name for name in SECRETS if secret_state(getattr(server, name)).needs_reentry]
