"""How a secret is shown to those who know it: enough to tell two apart, too little to use."""

_SHOWN_AT_EACH_END = ((20, 4), (10, 2), (5, 1))
"""Characters shown of a text that has at least so many."""


def masked(secret: str) -> str:
    """Return the ends of a secret with dots between them; dots alone for a short one."""
    for least, shown in _SHOWN_AT_EACH_END:
        if len(secret) >= least:
            return f"{secret[:shown]}...{secret[-shown:]}"
    return "..."
