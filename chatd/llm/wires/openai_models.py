"""The list of models as OpenAI and compatible servers send it."""

import msgspec
from msgspec import Struct

from chatd.llm.errors import redact, unreadable_answer
from chatd.llm.types import Provider


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


_decoder = msgspec.json.Decoder(_Models)


def decode(raw: bytes, provider: Provider) -> list[str]:
    """Return the ids of the models, as the provider orders them. Raises LLMError."""
    try:
        models = _decoder.decode(raw).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unreadable_answer(provider, "The answer is no list of models.") from None
    return [redact(model.id, provider) for model in models]
