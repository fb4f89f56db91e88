"""Short answers in one member of a JSON object: what is asked for, and reading it.

Pure functions. Titles (`title_text`) and labels (`label_text`) are made of them.
"""

import re
from typing import Any

import orjson

from chatd.llm.types import OutputSchema

_FENCED = re.compile(r"```\w*\s*\n(.*?)\s*```", re.DOTALL)
QUOTES = "\"'`“”\u2018\u2019«»„ "


def proposal_schema(name: str, member: str, description: str) -> OutputSchema:
    """Return the schema of an object with one text."""
    return OutputSchema(
        name=name,
        schema={
            "type": "object",
            "properties": {member: {"type": "string", "description": description}},
            "required": [member],
            "additionalProperties": False,
        },
    )


def proposed(answer: str, member: str) -> str:
    """Return the text of an answer, JSON or plain; empty when there is none, or it was cut."""
    fenced = _FENCED.fullmatch(answer.strip())
    text = (fenced[1] if fenced else answer).strip()
    if not text.startswith("{"):
        return text
    try:
        found: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return ""
    value = found.get(member) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""
