"""The Anthropic Messages wire."""

from collections.abc import Mapping

from chatd.llm.types import Provider, Request
from chatd.llm.wires import openai_models
from chatd.llm.wires.anthropic import answer, request, stream
from chatd.llm.wires.codec import Codec, ModelList

__all__ = ["CODEC"]

VERSION = "2023-06-01"


def _path(request: Request, *, is_stream: bool) -> str:
    return "/messages"


def _authorised(provider: Provider, method: str, url: str, body: bytes) -> Mapping[str, str]:
    key = provider.api_key.strip()
    return {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})


CODEC = Codec(
    path=_path,
    encode=request.encode,
    decoder=stream.Decoder,
    answer=answer.decode,
    authorised=_authorised,
    root="/v1",
    # its list looks like OpenAI's, but comes in pages
    models=ModelList(path="/models?limit=1000", decode=openai_models.decode),
)
