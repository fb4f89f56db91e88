"""Amounts of money as people write them and as they are stored: whole micros of a US dollar."""

from decimal import Context, Decimal, InvalidOperation

MICROS = 1_000_000
_MICRO = Decimal("0.000001")
MAX_MICROS = 2**63 - 1
_FIGURES = frozenset("_eE")
"""What a number may have in a program and an amount of money has not."""

NOT_POSITIVE = "Spend limit must be greater than 0."


def refused_limit(micros: int, not_positive: str = NOT_POSITIVE) -> str:
    """Return why an amount cannot be a limit, in a sentence; nothing when it can.

    For every way in: the columns take the same numbers and no others.
    """
    if micros <= 0:
        return not_positive
    if micros > MAX_MICROS:
        return f"Spend limit must be at most ${exact_dollars(MAX_MICROS)}."
    return ""


def parse_dollars(text: str) -> int:
    """Return an amount such as `12.50` in micros, whatever its size and sign.

    Raises ValueError with a sentence.
    """
    cleaned = text.strip().removeprefix("$").replace(",", "").strip()
    try:
        amount = Decimal(cleaned) if len(cleaned) <= 40 else Decimal("Infinity")
    except InvalidOperation:
        amount = Decimal("NaN")
    if amount.is_nan() or not _FIGURES.isdisjoint(cleaned):
        raise ValueError("Write an amount of dollars such as 25 or 12.50.")
    if abs(amount) > MAX_MICROS:  # so far from any limit that it is not worth reckoning with
        raise ValueError(refused_limit(MAX_MICROS + 1))
    in_micros = amount.quantize(_MICRO, context=Context(prec=60))
    if amount != in_micros:
        raise ValueError("An amount has at most 6 digits after the point.")
    return int(in_micros.scaleb(6))


def exact_dollars(micros: int) -> str:
    """Return an amount in dollars to the last micro, in cents at least: `12.50`, `0.000001`."""
    sign, whole, rest = "-" if micros < 0 else "", *divmod(abs(micros), MICROS)
    digits = f"{rest:06}".rstrip("0")
    return f"{sign}{whole}.{digits:0<2}"
