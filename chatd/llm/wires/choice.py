"""Which wire a call takes."""

from collections.abc import Mapping

from chatd.llm import providers
from chatd.llm.providers import Wire
from chatd.llm.types import Provider
from chatd.llm.wires import anthropic, bedrock, gemini, openai_chat, responses
from chatd.llm.wires.codec import Codec
from chatd.llm.wires.responses.models import is_responses_model

CODECS: Mapping[Wire, Codec] = {
    Wire.OPENAI_CHAT: openai_chat.CODEC,
    Wire.OPENAI_RESPONSES: responses.CODEC,
    Wire.ANTHROPIC: anthropic.CODEC,
    Wire.BEDROCK: bedrock.CODEC,
    Wire.GEMINI: gemini.CODEC,
}
_WITH_RESPONSES = ("openai", "azure")


def wire_of(provider: Provider, model: str = "") -> Wire:
    """Return the wire of a model at a provider; kinds that nobody knows are taken to be OpenAI's.

    Without a model it is the one that the provider lists its models on.
    """
    if provider.aws is not None:
        return Wire.BEDROCK
    kind = providers.find_kind(provider.kind)
    if kind and kind.name in _WITH_RESPONSES and is_responses_model(model):
        return Wire.OPENAI_RESPONSES
    return kind.wire if kind else Wire.OPENAI_CHAT


def codec_for(provider: Provider, model: str = "") -> Codec:
    """Return the wire of a call."""
    return CODECS[wire_of(provider, model)]
