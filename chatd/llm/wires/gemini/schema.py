"""JSON schemas as Google takes them: the part of OpenAPI 3.0 that its `Schema` has fields for.

Google refuses a request for any other keyword in it, and it is whole servers of tools that would
be lost. So references are put in their place, unions become `anyOf`, what has no field is left
out. The other way, `parametersJsonSchema`, takes keywords as they come, but models and servers
that speak this wire differ in what they make of them.
https://ai.google.dev/api/caching#Schema
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

MAX_NODES = 5000
MAX_DEPTH = 40

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_FORMATS: Mapping[str, frozenset[str]] = {
    "STRING": frozenset({"date-time", "enum"}),
    "NUMBER": frozenset({"float", "double"}),
    "INTEGER": frozenset({"int32", "int64"}),
}
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength")
_OF_TYPE: Mapping[str, tuple[str, ...]] = {
    "STRING": ("minLength", "maxLength"),
    "NUMBER": (),
    "INTEGER": (),
    "BOOLEAN": (),
    "ARRAY": ("minItems", "maxItems"),
    "OBJECT": ("minProperties", "maxProperties"),
}

Given = Mapping[str, Any]


def cleaned(schema: Given) -> dict[str, Any]:
    """Return a schema that Google takes; what is nested too deeply, or in a circle, is any text."""
    return _Cleaner(schema).clean(schema, (), 0)


def parameters_of(schema: Given) -> dict[str, Any] | None:
    """Return the parameters of a function; None for one that takes none."""
    found = cleaned({**schema, "type": "object"})
    return found if found.get("properties") else None


class _Cleaner:
    """Cleans one document. `refs` are the references that a schema stands in, against circles."""

    def __init__(self, root: Given) -> None:
        self._root = root
        self._nodes = 0

    def clean(self, given: Any, refs: tuple[str, ...], depth: int) -> dict[str, Any]:
        self._nodes += 1
        if not isinstance(given, Mapping) or depth > MAX_DEPTH or self._nodes > MAX_NODES:
            return {"type": "STRING"}
        resolved, refs = self._resolved(given, refs)
        if resolved is None:
            return _described({"type": "OBJECT"}, given)
        whole = self._with_all(resolved, refs)
        branches, is_nullable = _branches(whole)
        if len(branches) == 1:
            found = self.clean(branches[0], refs, depth + 1)
            return _nullable(_described(found, whole), is_nullable=is_nullable)
        if branches:
            cleaned_ones = [self.clean(branch, refs, depth + 1) for branch in branches]
            options = [_described(each, whole) for each in cleaned_ones]
            # beside anyOf no other field may stand
            return _nullable({"anyOf": options}, is_nullable=is_nullable)
        return _nullable(self._plain(whole, refs, depth), is_nullable=is_nullable)

    def _plain(self, given: Given, refs: tuple[str, ...], depth: int) -> dict[str, Any]:
        kind = _type_of(given)
        found: dict[str, Any] = _described({"type": kind}, given)
        if kind == "OBJECT":
            found |= self._members(given, refs, depth)
        elif kind == "ARRAY":
            items = given.get("items")
            items = given.get("prefixItems") if items is None else items
            if isinstance(items, list):
                items = {"anyOf": items} if items else None
            found["items"] = self.clean(items, refs, depth + 1)
        else:
            found |= _values(given, kind)
        for name in _OF_TYPE[kind]:
            if _is_count(given.get(name)):
                found[name] = given[name]
        return found

    def _members(self, given: Given, refs: tuple[str, ...], depth: int) -> dict[str, Any]:
        members = given.get("properties")
        if not isinstance(members, Mapping) or not members:
            return {}
        properties = {
            str(name): self.clean(member, refs, depth + 1) for name, member in members.items()
        }
        needed = given.get("required")
        required = [name for name in needed if name in properties] if _is_list(needed) else []
        return {"properties": properties} | ({"required": required} if required else {})

    def _resolved(
        self, given: Given, refs: tuple[str, ...]
    ) -> tuple[Given | None, tuple[str, ...]]:
        """Follow the references of a schema; None where they lead nowhere or in a circle."""
        while isinstance(ref := given.get("$ref"), str):
            target = self._target(ref)
            if target is None or ref in refs:
                return None, refs
            refs = (*refs, ref)
            beside = {name: value for name, value in given.items() if name != "$ref"}
            given = {**target, **beside}
        return given, refs

    def _target(self, ref: str) -> Given | None:
        found: Any = self._root
        if not ref.startswith("#"):
            return None
        for step in filter(None, ref[1:].split("/")):
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else None

    def _with_all(self, given: Given, refs: tuple[str, ...]) -> Given:
        """Return a schema with what its `allOf` demands in it."""
        every = given.get("allOf")
        if not _is_list(every):
            return given
        found: dict[str, Any] = {}
        for each in (*every, {name: value for name, value in given.items() if name != "allOf"}):
            part = self._resolved(each, refs)[0] if isinstance(each, Mapping) else None
            part = part or {}
            members = {**found.get("properties", {}), **_mapping(part.get("properties"))}
            needed = [*found.get("required", ()), *_list(part.get("required"))]
            found |= {name: value for name, value in part.items() if name != "allOf"}
            found |= {"properties": members} if members else {}
            found |= {"required": needed} if needed else {}
        return found


def _branches(given: Given) -> tuple[list[Any], bool]:
    """Return the schemas of which one holds, and whether null does; none for a plain schema."""
    union = given.get("anyOf") or given.get("oneOf")
    kinds = given.get("type")
    is_nullable = given.get("nullable") is True
    if _is_list(union) and union:
        branches = [each for each in union if not _is_null(each)]
        return branches, is_nullable or len(branches) < len(union)
    if _is_list(kinds):
        known = [kind for kind in kinds if kind != "null"]
        branches = [{**given, "type": kind, "nullable": False} for kind in known]
        return branches, is_nullable or len(known) < len(kinds)
    values = given.get("enum")
    return [], is_nullable or (_is_list(values) and None in values)


def _is_null(given: Any) -> bool:
    return isinstance(given, Mapping) and (
        given.get("type") == "null" or ("const" in given and given["const"] is None)
    )


def _type_of(given: Given) -> str:
    kind = given.get("type")
    if isinstance(kind, str) and kind.lower() in _TYPES:
        return kind.upper()
    if isinstance(given.get("properties"), Mapping):
        return "OBJECT"
    if "items" in given or "prefixItems" in given:
        return "ARRAY"
    values = _allowed(given)
    if values and all(isinstance(value, bool) for value in values):
        return "BOOLEAN"
    if values and all(isinstance(value, int) for value in values):
        return "INTEGER"
    if values and all(isinstance(value, int | float) for value in values):
        return "NUMBER"
    return "STRING"


def _values(given: Given, kind: str) -> dict[str, Any]:
    """Return what is said of a text or a number. Only texts can be enumerated."""
    found: dict[str, Any] = {}
    allowed = _allowed(given)
    if kind == "STRING":
        texts = list(dict.fromkeys(str(value) for value in allowed if value != ""))
        found |= {"enum": texts} if texts else {}
        if isinstance(pattern := given.get("pattern"), str):
            found["pattern"] = pattern
    elif allowed:
        told = given.get("description")
        listed = "One of: " + ", ".join(str(value) for value in allowed)
        found["description"] = f"{told} {listed}" if isinstance(told, str) and told else listed
    if given.get("format") in _FORMATS.get(kind, ()):
        found["format"] = given["format"]
    return found | (dict(_limits(given, kind)) if kind in ("NUMBER", "INTEGER") else {})


def _limits(given: Given, kind: str) -> Iterator[tuple[str, float]]:
    for name, exclusive, step in (
        ("minimum", "exclusiveMinimum", 1),
        ("maximum", "exclusiveMaximum", -1),
    ):
        limit = given.get(name)
        beyond = given.get(exclusive)
        if _is_number(limit):
            yield name, limit
        elif _is_number(beyond):
            yield name, beyond + step if kind == "INTEGER" else beyond


def _allowed(given: Given) -> list[Any]:
    if "const" in given:
        return [] if given["const"] is None else [given["const"]]
    return [value for value in _list(given.get("enum")) if value is not None]


def _described(found: dict[str, Any], given: Given) -> dict[str, Any]:
    """Return a schema with a description, where it has none of its own."""
    told = given.get("description")
    if isinstance(told, str) and told and "anyOf" not in found:
        found.setdefault("description", told)
    return found


def _nullable(found: dict[str, Any], *, is_nullable: bool) -> dict[str, Any]:
    if is_nullable and "anyOf" in found:
        return {"anyOf": [_nullable(each, is_nullable=is_nullable) for each in found["anyOf"]]}
    return {**found, "nullable": True} if is_nullable else found


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _list(value: Any) -> list[Any]:
    return list(value) if _is_list(value) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
