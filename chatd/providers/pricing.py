"""What a model call costs: exact arithmetic and nothing else.

Prices are in US dollars per million tokens, which is the same as micro-dollars per token.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_CEILING, Context, Decimal
from typing import Protocol

from chatd.core.errors import ChatdError, bad_request

MAX_DIGITS = 12
"""Of a price, on either side of the point."""

MAX_MICROS = 2**63 - 1
"""What a cost column holds; no bill comes near it."""

_LARGEST = Decimal(10) ** MAX_DIGITS
_SMALLEST = Decimal(1).scaleb(-MAX_DIGITS)
_EXACT = Context(prec=100, rounding=ROUND_CEILING)
"""Wide enough for a sum of four products of any token count and any price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices of a model; None is no price."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None

    def texts(self) -> dict[str, str]:
        """Return the prices that there are by their keys in `cost`, in their shortest form."""
        return {
            _key(name): format(price, "f")
            for name, price in asdict(self).items()
            if price is not None
        }


class TokenCounts(Protocol):
    """Tokens of one call; None and 0 are unknown. `input` has no cached tokens in it."""

    @property
    def input_tokens(self) -> int | None: ...
    @property
    def output_tokens(self) -> int | None: ...
    @property
    def cache_read_tokens(self) -> int | None: ...
    @property
    def cache_creation_tokens(self) -> int | None: ...


def cost_micros(usage: TokenCounts, prices: Prices) -> int | None:
    """Return the cost of a call in micro-dollars, rounded up once; None when it is unpriced.

    It is unless some kind of token has both a count and a price. Reasoning is part of the output.
    """
    products = [
        _EXACT.multiply(Decimal(tokens), price)
        for tokens, price in (
            (usage.input_tokens, prices.input),
            (usage.output_tokens, prices.output),
            (usage.cache_read_tokens, prices.cache_read),
            (usage.cache_creation_tokens, prices.cache_write),
        )
        if tokens and price is not None
    ]
    if not products:
        return None
    total = Decimal(0)
    for product in products:
        total = _EXACT.add(total, product)
    return min(int(total.to_integral_value(context=_EXACT)), MAX_MICROS)


def read_prices(cost: Mapping[str, Decimal]) -> Prices:
    """Return the prices of a call config. Raises ChatdError 400."""
    return Prices(
        **{
            each.name: _checked(_key(each.name), cost[_key(each.name)])
            for each in fields(Prices)
            if _key(each.name) in cost
        }
    )


def _checked(key: str, price: Decimal) -> Decimal:
    """Return the shortest form of a price."""
    if price < 0:
        raise _refused(f"cost.{key} must be greater than or equal to zero")
    if price >= _LARGEST:
        raise _refused(f"cost.{key} must be less than {_LARGEST:f}")
    rounded = price.quantize(_SMALLEST, context=_EXACT)
    if rounded != price:
        raise _refused(f"cost.{key} must have at most {MAX_DIGITS} digits after the point")
    return rounded.copy_abs().normalize(_EXACT)


def _refused(detail: str) -> ChatdError:
    return bad_request("Invalid model config.", detail=detail)


def _key(name: str) -> str:
    return f"{name}_price_per_million_tokens"
