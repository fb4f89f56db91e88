"""What sets families of Google's models apart, told by their names."""

import re

_NUMBERED = re.compile(r"gemini-(\d+)")


def is_gemma(model: str) -> bool:
    """Tell whether the model takes no system instruction and writes no JSON on demand."""
    return _plain(model).startswith("gemma")


def is_gemini_3(model: str) -> bool:
    """Tell whether the model is of Gemini 3 or later.

    These refuse calls without a signature, read images in results of tools, and search beside
    functions. A name without a number, such as `gemini-flash-latest`, is one of the latest.
    """
    plain = _plain(model)
    numbered = _NUMBERED.match(plain)
    return int(numbered[1]) >= 3 if numbered else plain.startswith("gemini-")


def _plain(model: str) -> str:
    return model.strip().lower().removeprefix("models/")
