"""What we call ourselves in every request to a provider or a server of tools."""

import platform
from functools import cache
from importlib import metadata


@cache
def user_agent() -> str:
    """Return `chatd/<version> (<os>/<arch>)`."""
    try:
        version = metadata.version("chatd")
    except metadata.PackageNotFoundError:
        version = "0"
    return f"chatd/{version} ({platform.system().lower()}/{platform.machine().lower()})"
