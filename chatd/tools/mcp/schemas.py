"""How models see the tools of servers: their names, their parameters, and the wrapped intent."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from chatd.tools.client_tools import object_parameters

MAX_NAME = 64
_HASH_CHARS = 8
_REFUSED = re.compile(r"[^A-Za-z0-9_-]")

INTENT = "model_intent"
_ARGUMENTS = "properties"
_INTENT_WORDS = (
    "What this call is to achieve, in a few words for the person who reads along."
    " It is not sent to the tool."
)

_MAX_INLINED = 500
"""References of one schema that are written out; others accept anything."""


def tool_name(slug: str, name: str) -> str:
    """Return `<slug>__<name>`, changed where providers would refuse it.

    They take 64 letters, digits, `_` and `-`. Other characters become `_`; a name that was changed
    ends in a hash of what it was, so that two tools stay two.
    """
    whole = f"{slug}__{name}"
    allowed = _REFUSED.sub("_", whole)
    if allowed == whole and len(whole) <= MAX_NAME:
        return whole
    digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:_HASH_CHARS]
    return f"{allowed[: MAX_NAME - _HASH_CHARS - 1]}_{digest}"


def parameters_of(schema: Any) -> dict[str, Any]:
    """Return the parameters of a tool; what its schema refers to is written out in place."""
    if not isinstance(schema, Mapping):
        return object_parameters(None)
    try:
        return object_parameters(_Inliner(schema).inlined(dict(schema), ()))
    except RecursionError:
        return object_parameters(None)  # no provider would take it


class _Inliner:
    """Writes local references (`#/$defs/…`) out, because only properties reach the model."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._left = _MAX_INLINED

    def inlined(self, value: Any, inside: tuple[str, ...]) -> Any:
        """Return `value` without references; those it is `inside` of accept anything."""
        if isinstance(value, list):
            return [self.inlined(each, inside) for each in value]
        if not isinstance(value, Mapping):
            return value
        reference = value.get("$ref")
        if not isinstance(reference, str):
            return {name: self.inlined(each, inside) for name, each in value.items()}
        beside = {name: each for name, each in value.items() if name != "$ref"}
        target = self._target(reference)
        if reference in inside or not isinstance(target, Mapping) or self._left <= 0:
            return self.inlined(beside, inside)
        self._left -= 1
        return self.inlined({**target, **beside}, (*inside, reference))

    def _target(self, reference: str) -> Any:
        start, *steps = reference.split("/")
        found: Any = self._schema if start == "#" and steps else None
        for step in steps:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def with_intent(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters that ask for the arguments and, beside them, what the call is for."""
    return {
        "type": "object",
        "properties": {
            INTENT: {"type": "string", "description": _INTENT_WORDS},
            _ARGUMENTS: dict(parameters),
        },
        "required": [INTENT, _ARGUMENTS],
    }


def without_intent(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tool gets of wrapped arguments; a flat object is taken too."""
    wrapped = arguments.get(_ARGUMENTS)
    if isinstance(wrapped, Mapping) and set(arguments) <= {INTENT, _ARGUMENTS}:
        return dict(wrapped)
    return {name: value for name, value in arguments.items() if name != INTENT}
