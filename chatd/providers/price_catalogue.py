"""What models are known to take: the price list of the genai-prices package, as it was installed.

Suggestions for people who enter prices, and a check of what they entered. Nothing is asked over
the network, and nobody is billed by it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from chatd.core.clock import now
from chatd.providers.models import ProviderType
from chatd.providers.pricing import Prices

MOST_PLAUSIBLE = Decimal(10_000)
"""US dollars per million tokens."""

FACTOR = 100
"""Between what a model takes and what somebody meant to write: tokens and thousands of them."""

_KNOWN_AS = {
    ProviderType.ANTHROPIC: "anthropic",
    ProviderType.AZURE: "azure",
    ProviderType.BEDROCK: "aws",
    ProviderType.GOOGLE: "google",
    ProviderType.OPENAI: "openai",
    ProviderType.OPENROUTER: "openrouter",
}
"""Kinds of provider whose prices are public, by their name in the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A known model: the id in the list, its prices, and its context in tokens where known."""

    model: str
    prices: Prices
    context_limit: int | None


def suggest_prices(kind: str, model: str) -> Suggestion | None:
    """Return what is known of a model of a kind of provider, None for others.

    Where the price grows with the length of a prompt, it is that of short ones. Vercel's models
    carry the name of their maker, whose prices it passes on.
    """
    if kind == ProviderType.VERCEL:
        maker, _, model = model.partition("/")
        return _look_up(maker, model)
    known_as = _KNOWN_AS.get(kind)  # type: ignore[call-overload]
    return _look_up(known_as, model) if known_as else None


def has_known_prices(kind: str) -> bool:
    """Tell whether prices of a kind of provider are public."""
    return kind in _KNOWN_AS or kind == ProviderType.VERCEL


def known_models(kind: str) -> list[str]:
    """Return the ids of the models of a kind of provider that have known prices, by name."""
    known_as = _KNOWN_AS.get(kind)  # type: ignore[call-overload]
    if not known_as:
        return []
    from genai_prices.data_snapshot import get_snapshot

    makers = (maker for maker in get_snapshot().providers if maker.id == known_as)
    return sorted(
        model.id
        for maker in makers
        for model in maker.models
        if not getattr(model, "deprecated", 0)
    )


def implausible(kind: str, model: str, prices: Prices) -> list[str]:
    """Return what is odd about prices that somebody entered, as sentences; mostly nothing."""
    suggestion = suggest_prices(kind, model)
    known = asdict(suggestion.prices) if suggestion else {}
    found: list[str] = []
    for name, price in asdict(prices).items():
        if price is not None:
            words = name.replace("_", " ")
            found += _doubts(f"The {words} price {price:f}", price, known.get(name))
    return found


def _doubts(what: str, price: Decimal, usual: Decimal | None) -> Iterator[str]:
    if price > MOST_PLAUSIBLE:
        yield f"{what} is above {MOST_PLAUSIBLE:,} USD per million tokens."
    elif usual and price and not usual / FACTOR <= price <= usual * FACTOR:
        yield f"{what} is far from the usual {usual:f} USD per million tokens."


def _look_up(known_as: str, model: str) -> Suggestion | None:
    # the list takes 30 MB and a tenth of a second, which only those who enter prices need
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, known_as, None)
    except LookupError:
        return None
    listed = found.get_prices(now())
    prices = Prices(
        input=_base(listed.input_mtok),
        output=_base(listed.output_mtok),
        cache_read=_base(listed.cache_read_mtok),
        cache_write=_base(listed.cache_write_mtok),
    )
    return Suggestion(model=found.id, prices=prices, context_limit=found.context_window)


def _base(price: Any) -> Decimal | None:
    """Return a price, or the one of the lowest tier."""
    base = getattr(price, "base", price)
    return base if isinstance(base, Decimal) else None
