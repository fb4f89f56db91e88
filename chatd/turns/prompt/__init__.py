"""Stored messages as a model request, made anew for every call.

`assembly` has the order, `conversion` and `results` turn parts into blocks, `repair` pairs calls
with results, `context` retells the files of a workspace, `anthropic` has what that provider alone
refuses.
"""

from chatd.turns.prompt.anthropic import sanitised, sanitised_content
from chatd.turns.prompt.assembly import prompt_from, user_instructions
from chatd.turns.prompt.repair import MISSING_RESULT

__all__ = [
    "MISSING_RESULT",
    "prompt_from",
    "sanitised",
    "sanitised_content",
    "user_instructions",
]
