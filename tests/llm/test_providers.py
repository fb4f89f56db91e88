"""The provider kinds as data."""

from chatd.llm.providers import PROVIDERS, display_name, find_kind


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
