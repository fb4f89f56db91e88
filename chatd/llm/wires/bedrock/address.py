"""Where a call of Bedrock goes: region, model id, path."""

from urllib.parse import quote

from chatd.llm import providers
from chatd.llm.aws_credentials import DEFAULT_REGION
from chatd.llm.types import Provider, Request

_PREFIXES = frozenset(
    "af amer ap apac au ca eu global il jp me mx sa us us-gov".split()  # noqa: SIM905
)
"""What an id begins with that names an inference profile of several regions."""


def region_of(provider: Provider) -> str:
    """Return the region that a provider is in."""
    return (provider.aws.region.strip() if provider.aws else "") or DEFAULT_REGION


def model_id(model: str, region: str) -> str:
    """Return the id of a model as a region knows it (engine 10.3).

    Ids that already name a region or an inference profile stay, and so do ARNs.
    """
    if model.startswith("arn:") or model.partition(".")[0] in _PREFIXES:
        return model
    return f"{region[:2]}.{model}"


def url_of(request: Request, provider: Provider, *, is_stream: bool) -> str:
    """Return the whole address of a call. The model id is quoted: it may hold colons, slashes."""
    region = region_of(provider)
    action = "invoke-with-response-stream" if is_stream else "invoke"
    model = quote(model_id(request.model, region), safe="")
    return f"{_base(provider, region)}/model/{model}/{action}"


def _base(provider: Provider, region: str) -> str:
    """Return the configured address; that of the vendor's own API stands for none."""
    base = provider.base_url.strip().rstrip("/")
    kind = providers.find_kind(provider.kind)
    if base and not (kind and base.removesuffix("/v1") == kind.default_base_url):
        return base
    return f"https://bedrock-runtime.{region}.amazonaws.com"
