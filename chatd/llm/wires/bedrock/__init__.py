"""Anthropic's models on AWS Bedrock: their Messages wire in the frames and under the law of AWS."""

from collections.abc import Mapping
from datetime import UTC, datetime

from chatd.llm.types import Provider, Request
from chatd.llm.wires.anthropic import answer
from chatd.llm.wires.anthropic.stream import Decoder
from chatd.llm.wires.bedrock.address import url_of
from chatd.llm.wires.bedrock.frames import EventStreamFrames
from chatd.llm.wires.bedrock.request import encode
from chatd.llm.wires.bedrock.signing import signed_headers
from chatd.llm.wires.codec import Codec, bearer

__all__ = ["CODEC"]


def _path(request: Request, *, is_stream: bool) -> str:
    return ""  # the address of a call says it all


def _decoder(request: Request, provider: Provider) -> Decoder:
    return Decoder(request, provider, EventStreamFrames())


def _authorised(provider: Provider, method: str, url: str, body: bytes) -> Mapping[str, str]:
    """Return the key as a bearer, or a signature; a key goes before credentials."""
    headers = bearer(provider, method, url, body)
    if headers or provider.aws is None or not provider.aws.can_sign:
        return headers
    return signed_headers(provider.aws, method, url, body, at=datetime.now(UTC))


CODEC = Codec(
    path=_path,
    encode=encode,
    decoder=_decoder,
    answer=answer.decode,
    authorised=_authorised,
    accept="application/json",
    url=url_of,
)
