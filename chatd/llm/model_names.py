"""Names of models as people write them, and as their provider knows them (engine 10.2)."""

GATEWAYS = frozenset({"vercel", "openrouter", "openai-compat"})
"""Kinds whose names of models hold a slash of their own."""


def name_at_provider(model: str, kind: str) -> str:
    """Return a model's name without the kind of its provider before it: `openai:gpt-5`.

    At gateways every name stays as it is.
    """
    name = model.strip()
    kind = kind.strip().lower()
    if kind in GATEWAYS:
        return name
    for separator in (":", "/"):
        start, found, rest = name.partition(separator)
        if found and rest.strip() and start.strip().lower() == kind:
            return rest.strip()
    return name
