"""Suggested prices, and doubts about prices that are far from them."""

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from chatd.providers.price_catalogue import implausible, suggest_prices
from chatd.providers.pricing import Prices

ROOT = Path(__file__).resolve().parents[2]

KNOWN = [
    ("openai", "gpt-4o-mini"),
    ("azure", "gpt-4o-mini"),
    ("anthropic", "claude-haiku-4-5"),
    ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0"),
    ("google", "gemini-2.5-pro"),
    ("openrouter", "anthropic/claude-3.5-haiku"),
    ("vercel", "anthropic/claude-haiku-4.5"),
]


@pytest.mark.parametrize(("kind", "model"), KNOWN)
def test_a_known_model_has_prices_that_are_in_no_doubt(kind: str, model: str) -> None:
    found = suggest_prices(kind, model)
    assert found is not None
    assert found.prices.input
    assert found.prices.output
    assert found.prices.output > found.prices.input
    assert implausible(kind, model, found.prices) == []


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("openai", "nonsense"),
        ("openai-compat", "gpt-4o-mini"),
        ("copilot", "gpt-4o"),
        ("mystery", "gpt-4o"),
        ("vercel", "gpt-4o"),
        ("openai", ""),
    ],
)
def test_nothing_is_known_of_the_others(kind: str, model: str) -> None:
    assert suggest_prices(kind, model) is None
    assert implausible(kind, model, Prices(input=Decimal("10000"))) == []


@pytest.mark.parametrize(
    ("price", "doubts"),
    [
        ("0.00000015", 1),
        ("0.0015", 0),
        ("0.0014", 1),
        ("15", 0),
        ("15.1", 1),
        ("0", 0),
        ("0.15", 0),
    ],
)
def test_a_price_a_hundred_times_off_is_doubted(price: str, doubts: int) -> None:
    found = implausible("openai", "gpt-4o-mini", Prices(input=Decimal(price)))
    assert len(found) == doubts
    assert all("usual 0.15 USD" in doubt for doubt in found)


def test_a_price_above_any_model_is_doubted_everywhere() -> None:
    (doubt,) = implausible("openai-compat", "mine", Prices(cache_read=Decimal("10000.01")))
    assert doubt == "The cache read price 10000.01 is above 10,000 USD per million tokens."


def test_the_list_is_loaded_only_where_it_is_asked() -> None:
    script = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings';"
        "django.setup(); import config.asgi, chatd.api.urls, chatd.providers.model_admin;"
        "print('genai_prices' in sys.modules, 'pydantic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
