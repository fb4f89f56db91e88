"""Requests as they are sent: address, headers and body of a call on its wire."""

from chatd.llm import providers
from chatd.llm.types import Provider, Request
from chatd.llm.user_agent import user_agent
from chatd.llm.wires import azure
from chatd.llm.wires.codec import Codec, ModelList, Target

_JSON = "application/json"


def target_of(codec: Codec, request: Request, provider: Provider, *, is_stream: bool) -> Target:
    """Return a model call as it is sent. Raises TypeError, ValueError, LLMError."""
    body = codec.encode(request, provider, is_stream=is_stream)
    if codec.url is not None:
        url = codec.url(request, provider, is_stream=is_stream)
    else:
        url = _address(codec, provider) + codec.path(request, is_stream=is_stream)
    headers = {
        **_headers(provider, codec.accept if is_stream else _JSON),
        "Content-Type": _JSON,
    }
    return Target(
        url=url,
        body=body,
        headers={**headers, **codec.authorised(provider, "POST", url, body)},
    )


def target_of_list(codec: Codec, models: ModelList, provider: Provider) -> Target:
    """Return the question for the models of a provider as it is sent."""
    url = _address(codec, provider) + models.path
    headers = {**_headers(provider, _JSON), **codec.authorised(provider, "GET", url, b"")}
    return Target(url=url, body=b"", headers=headers)


def _address(codec: Codec, provider: Provider) -> str:
    kind = providers.find_kind(provider.kind)
    base = provider.base_url.strip() or (kind.default_base_url if kind else "")
    base = base.rstrip("/")
    if kind and kind.name == "azure":
        base = azure.complete_address(base)
    return base if base.endswith(codec.root) else base + codec.root


def _headers(provider: Provider, accept: str) -> dict[str, str]:
    return {
        "Accept": accept,
        # compressing proxies hold deltas back until a block is full
        "Accept-Encoding": "identity",
        "User-Agent": user_agent(),
        **provider.headers,
    }
