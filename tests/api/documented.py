"""Holds an answer of the API against the OpenAPI document: its status, its type, its shape.

Clients may meet members that are new to them, so the document leaves objects open. Here they are
closed: a member that is not documented is a mistake.
"""

import re
from functools import cache
from typing import Any

import jsonschema_rs

from chatd.api.documenting import JSON
from chatd.api.openapi import document

UNDOCUMENTED_ROUTE = {"message": "Route not found."}
WRONG_METHOD = {"message": "Method not allowed."}


def check_answer(method: str, path: str, status: int, media: str, body: Any) -> None:
    """Assert that an answer is documented. `path` has no query; `body` is decoded JSON or None."""
    operation = _operation("GET" if method == "HEAD" else method, path)
    if operation is None:
        refusals = [(404, UNDOCUMENTED_ROUTE), (405, WRONG_METHOD), (401, body), (429, body)]
        assert (status, body) in refusals
        return
    name = operation["operationId"]
    assert str(status) in operation["responses"], f"{name} does not document a {status}: {body}"
    answer = _resolved(operation["responses"][str(status)])
    content = answer.get("content", {})
    media = media.partition(";")[0]
    if not content:
        assert not media, f"{name} documents no body for {status}"
        return
    assert media in content, f"{name} does not document {media} for {status}"
    if body is not None:
        _check_shape(name, status, media, body)


def check_frame(name: str, frame: Any) -> None:
    """Assert that a decoded text frame is what the socket route documents."""
    _check_shape(name, 101, JSON, frame)


def _check_shape(name: str, status: int, media: str, body: Any) -> None:
    wrong = _validator(name, status, media).iter_errors(body)
    problems = [f"{problem.instance_path}: {problem.message}" for problem in wrong]
    assert not problems, f"{name} {status}: {problems}"


def _operation(method: str, path: str) -> dict[str, Any] | None:
    """Return the operation that serves a path, None when there is none for the method."""
    for pattern, item in _paths():
        if pattern.fullmatch(path):
            return item.get(method.lower())
    return None


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Return path patterns and path items; those without a parameter come first."""
    paths = sorted(document()["paths"].items(), key=lambda entry: entry[0].count("{"))
    return [
        (re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + "/?"), item)
        for path, item in paths
    ]


def _resolved(described: dict[str, Any]) -> dict[str, Any]:
    reference = described.get("$ref")
    if reference is None:
        return described
    found: Any = document()
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


@cache
def _validator(name: str, status: int, media: str) -> Any:
    operation = next(
        operation
        for item in document()["paths"].values()
        for operation in item.values()
        if operation["operationId"] == name
    )
    answer = _resolved(operation["responses"][str(status)])
    schema = answer["content"][media]["schema"]
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": _closed_components()}, validate_formats=True
    )


@cache
def _closed_components() -> dict[str, Any]:
    schemas = {
        name: {"additionalProperties": False, **schema} if "properties" in schema else schema
        for name, schema in document()["components"]["schemas"].items()
    }
    return {"schemas": schemas}
