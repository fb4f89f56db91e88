"""The provider kinds as data."""

from chatd.llm.providers import PROVIDERS, Wire, display_name, find_kind
from chatd.llm.types import Provider
from chatd.llm.wires.choice import CODECS, codec_for


def test_the_order_and_the_names_are_fixed():
    assert [(kind.name, kind.display_name) for kind in PROVIDERS] == [
        ("anthropic", "Anthropic"),
        ("azure", "Azure OpenAI"),
        ("bedrock", "AWS Bedrock"),
        ("google", "Google"),
        ("openai", "OpenAI"),
        ("openai-compat", "OpenAI Compatible"),
        ("openrouter", "OpenRouter"),
        ("vercel", "Vercel AI Gateway"),
    ]


def test_names_are_found_whatever_their_case_and_blanks():
    assert find_kind(" OpenAI ") is find_kind("openai")
    assert find_kind("nobody") is None
    assert display_name("nobody") == ""


def test_every_kind_has_a_wire_and_unknown_ones_that_of_openai():
    for kind in PROVIDERS:
        assert codec_for(Provider(kind=kind.name, base_url="")) is CODECS[kind.wire]
    assert codec_for(Provider(kind="nobody", base_url="")) is CODECS[Wire.OPENAI_CHAT]
