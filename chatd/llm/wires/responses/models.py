"""Which models of OpenAI are called on the Responses API, and which of them reason.

Ids are matched exactly: other servers use similar ones for models that only know
chat/completions, and at Azure a deployment may have any name.
"""

from collections.abc import Mapping
from itertools import chain

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "gpt-3.5": ("gpt-3.5-turbo", "gpt-3.5-turbo-0125", "gpt-3.5-turbo-1106"),
    "gpt-4": (
        "gpt-4",
        "gpt-4-0613",
        "gpt-4-0125-preview",
        "gpt-4-1106-preview",
        "gpt-4-turbo",
        "gpt-4-turbo-2024-04-09",
        "gpt-4-turbo-preview",
    ),
    "gpt-4o": (
        "gpt-4o",
        "gpt-4o-2024-05-13",
        "gpt-4o-2024-08-06",
        "gpt-4o-2024-11-20",
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        "chatgpt-4o-latest",
    ),
    "gpt-4.1": (
        "gpt-4.1",
        "gpt-4.1-2025-04-14",
        "gpt-4.1-mini",
        "gpt-4.1-mini-2025-04-14",
        "gpt-4.1-nano",
        "gpt-4.1-nano-2025-04-14",
    ),
    "gpt-4.5": ("gpt-4.5-preview", "gpt-4.5-preview-2025-02-27"),
    "gpt-5": (
        "gpt-5",
        "gpt-5-2025-08-07",
        "gpt-5-mini",
        "gpt-5-mini-2025-08-07",
        "gpt-5-nano",
        "gpt-5-nano-2025-08-07",
        "gpt-5-pro",
        "gpt-5-pro-2025-10-06",
        "gpt-5-codex",
        "gpt-5-chat",
        "gpt-5-chat-latest",
    ),
    "gpt-5.1": (
        "gpt-5.1",
        "gpt-5.1-2025-11-13",
        "gpt-5.1-mini",
        "gpt-5.1-chat",
        "gpt-5.1-chat-latest",
        "gpt-5.1-codex",
        "gpt-5.1-codex-max",
        "gpt-5.1-codex-mini",
    ),
    "gpt-5.2": (
        "gpt-5.2",
        "gpt-5.2-2025-12-11",
        "gpt-5.2-pro",
        "gpt-5.2-pro-2025-12-11",
        "gpt-5.2-chat-latest",
        "gpt-5.2-codex",
    ),
    "gpt-5.3": ("gpt-5.3", "gpt-5.3-chat-latest", "gpt-5.3-codex"),
    "gpt-5.4": (
        "gpt-5.4",
        "gpt-5.4-pro",
        "gpt-5.4-mini",
        "gpt-5.4-mini-2026-03-17",
        "gpt-5.4-nano",
        "gpt-5.4-nano-2026-03-17",
        "gpt-5.4-codex",
    ),
    "gpt-5.5": (
        "gpt-5.5",
        "gpt-5.5-2026-04-23",
        "gpt-5.5-pro",
        "gpt-5.5-pro-2026-04-23",
        "gpt-5.5-mini",
        "gpt-5.5-nano",
        "gpt-5.5-codex",
    ),
    "gpt-5.6": (
        "gpt-5.6",
        "gpt-5.6-pro",
        "gpt-5.6-mini",
        "gpt-5.6-nano",
        "gpt-5.6-codex",
        "gpt-5.6-sol",
        "gpt-5.6-terra",
        "gpt-5.6-luna",
    ),
    "o1": ("o1", "o1-2024-12-17", "o1-pro", "o1-pro-2025-03-19"),
    "o3": (
        "o3",
        "o3-2025-04-16",
        "o3-mini",
        "o3-mini-2025-01-31",
        "o3-pro",
        "o3-pro-2025-06-10",
        "o3-deep-research",
        "o3-deep-research-2025-06-26",
    ),
    "o4": (
        "o4-mini",
        "o4-mini-2025-04-16",
        "o4-mini-deep-research",
        "o4-mini-deep-research-2025-06-26",
    ),
    "codex": ("codex-mini-latest",),
    "computer-use": ("computer-use-preview", "computer-use-preview-2025-03-11"),
    "gpt-oss": ("gpt-oss-120b",),
}
"""Known ids by family, the dated ones among them."""

_KNOWN = frozenset(chain.from_iterable(FAMILIES.values()))

_REASONING_STARTS = ("o1", "o3", "o4", "oss", "codex-", "computer-use")
_REASONING_PARTS = ("-o1", "-o3", "-o4", "-oss", "gpt-5")


def is_responses_model(model: str) -> bool:
    """Tell whether a model is known to be served on the Responses API."""
    return model in _KNOWN


def is_reasoning_model(model: str) -> bool:
    """Tell whether the model reasons: it takes developer messages and no sampling parameters."""
    if "gpt-5-chat" in model:
        return False
    return model.startswith(_REASONING_STARTS) or any(part in model for part in _REASONING_PARTS)
