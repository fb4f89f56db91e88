"""Values of provider options as the wires of OpenAI send them.

Texts are trimmed, blank is unset, and of an enumeration only known values are sent, whatever
their case.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

Section = Mapping[str, Any]


def text(section: Section, key: str) -> str | None:
    """Return a text without the blanks around it; None for a blank one."""
    return (section.get(key) or "").strip() or None


def choice(section: Section, key: str, known: Collection[str]) -> str | None:
    """Return a value of an enumeration, None for one that is not known."""
    value = (section.get(key) or "").strip().lower()
    return value if value in known else None


def texts(given: Iterable[str] | None) -> list[str]:
    """Return the texts of a list that are not blank."""
    return [trimmed for item in given or () if (trimmed := item.strip())]


def texts_by_name(given: Section | None) -> dict[str, str] | None:
    """Return the members of an object that are texts; None when there are none."""
    found = {key: value for key, value in (given or {}).items() if isinstance(value, str)}
    return found or None


def service_tier(section: Section, model: str, known: Collection[str]) -> str | None:
    """Return the tier, unless the model is known not to have it."""
    tier = choice(section, "service_tier", known)
    has_flex = model.startswith("o3") or _has_part(model, ("-o3", "o4-mini", "gpt-5"))
    if tier == "flex" and not has_flex:
        return None
    if tier == "priority" and not (has_flex or "gpt-4" in model):
        return None
    return tier


def _has_part(model: str, parts: Iterable[str]) -> bool:
    return any(part in model for part in parts)
