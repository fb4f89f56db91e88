"""What Azure OpenAI wants otherwise than OpenAI: its addresses and the header of its key."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from chatd.llm.types import Provider
from chatd.llm.wires.codec import bearer

API_PATH = "/openai/v1"
_CLOUDS = (".azure.com", ".azure.us", ".azure.cn")


def complete_address(base: str) -> str:
    """Return the address of the API for that of a resource; other addresses stay as they are."""
    try:
        parts = urlsplit(base)
    except ValueError:
        return base
    is_resource = (parts.hostname or "").endswith(_CLOUDS)
    if not is_resource or parts.query or parts.path.rstrip("/") not in ("", "/openai"):
        return base
    return f"{parts.scheme}://{parts.netloc}{API_PATH}"


def authorised(provider: Provider, method: str, url: str, body: bytes) -> Mapping[str, str]:
    """Return the key as both of its kinds of resources want it."""
    headers = dict(bearer(provider, method, url, body))
    if headers and provider.kind == "azure":
        headers["api-key"] = provider.api_key.strip()
    return headers
