"""Google's Gemini wire: generateContent, with Gemma's models on it."""

from collections.abc import Mapping
from urllib.parse import quote

from chatd.llm.types import Provider, Request
from chatd.llm.wires.codec import Codec, ModelList
from chatd.llm.wires.gemini import answer, models, request, stream

__all__ = ["CODEC"]


def _path(request: Request, *, is_stream: bool) -> str:
    model = request.model.strip().removeprefix("models/")
    # a tuned model brings the name of its collection along
    folder = "" if model.startswith("tunedModels/") else "models/"
    method = "streamGenerateContent?alt=sse" if is_stream else "generateContent"
    return f"/{folder}{quote(model)}:{method}"


def _authorised(provider: Provider, method: str, url: str, body: bytes) -> Mapping[str, str]:
    key = provider.api_key.strip()
    return {"x-goog-api-key": key} if key else {}


CODEC = Codec(
    path=_path,
    encode=request.encode,
    decoder=stream.Decoder,
    answer=answer.decode,
    authorised=_authorised,
    root="/v1beta",
    models=ModelList(path="/models?pageSize=1000", decode=models.decode),
)
