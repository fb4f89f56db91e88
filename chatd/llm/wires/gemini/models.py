"""The list of models as Google sends it."""

import msgspec
from msgspec import Struct

from chatd.llm.errors import redact, unreadable_answer
from chatd.llm.types import Provider


class _Model(Struct, rename="camel"):
    name: str
    supported_generation_methods: list[str] | None = None


class _Models(Struct):
    models: list[_Model]


_decoder = msgspec.json.Decoder(_Models)


def decode(raw: bytes, provider: Provider) -> list[str]:
    """Return the ids of the models that can answer, as Google orders them. Raises LLMError."""
    try:
        found = _decoder.decode(raw).models
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise unreadable_answer(provider, "The answer is no list of models.") from None
    return [
        redact(model.name.removeprefix("models/"), provider)
        for model in found
        if "generateContent" in (model.supported_generation_methods or ["generateContent"])
    ]
