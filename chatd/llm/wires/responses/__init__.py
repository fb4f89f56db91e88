"""The Responses wire of OpenAI and Azure."""

from chatd.llm.types import Request
from chatd.llm.wires import azure, openai_models
from chatd.llm.wires.codec import Codec, ModelList
from chatd.llm.wires.responses import answer, request, stream

__all__ = ["CODEC"]


def _path(request: Request, *, is_stream: bool) -> str:
    return "/responses"


CODEC = Codec(
    path=_path,
    encode=request.encode,
    decoder=stream.Decoder,
    answer=answer.decode,
    authorised=azure.authorised,
    models=ModelList(path="/models", decode=openai_models.decode),
)
