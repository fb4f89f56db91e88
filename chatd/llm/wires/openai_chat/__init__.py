"""The OpenAI chat/completions wire, and the many dialects of it."""

from chatd.llm.types import Request
from chatd.llm.wires import azure, openai_models
from chatd.llm.wires.codec import Codec, ModelList
from chatd.llm.wires.openai_chat import answer, request, stream

__all__ = ["CODEC"]


def _path(request: Request, *, is_stream: bool) -> str:
    return "/chat/completions"


CODEC = Codec(
    path=_path,
    encode=request.encode,
    decoder=stream.Decoder,
    answer=answer.decode,
    authorised=azure.authorised,
    models=ModelList(path="/models", decode=openai_models.decode),
)
