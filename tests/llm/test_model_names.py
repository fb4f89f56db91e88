"""Names of models with the kind of their provider before them."""

import pytest

from chatd.llm.model_names import name_at_provider


@pytest.mark.parametrize(
    ("model", "kind", "expected"),
    [
        ("gpt-5", "openai", "gpt-5"),
        ("openai:gpt-5", "openai", "gpt-5"),
        ("OpenAI/gpt-5", "openai", "gpt-5"),
        (" anthropic : claude-opus-4-6 ", "anthropic", "claude-opus-4-6"),
        ("anthropic:claude-opus-4-6", "openai", "anthropic:claude-opus-4-6"),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "bedrock", None),
        ("bedrock:us.anthropic.claude-v1:0", "bedrock", "us.anthropic.claude-v1:0"),
        ("openai/gpt-5", "openrouter", None),
        ("openrouter/auto", "openrouter", None),
        ("vercel:x", "vercel", None),
        ("models/gemini-2.5-flash", "google", None),
        ("openai:", "openai", None),
        ("", "openai", ""),
    ],
)
def test_the_kind_is_taken_off_unless_it_is_part_of_the_name(
    model: str, kind: str, expected: str | None
) -> None:
    assert name_at_provider(model, kind) == (model if expected is None else expected)
