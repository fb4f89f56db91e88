"""The OpenAPI document, made of what the viewset methods state with `Operation`.

drf-spectacular finds the routes and puts the document together; the JSON Schemas are those of the
structs that requests are decoded into, and of the TypedDicts that answers are built as. Whatever
serves requests does not import this module: the document is made once, when it is asked for.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, cast

import msgspec
from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent
from rest_framework.viewsets import ViewSet

from chatd.api import idempotency
from chatd.api.authentication import ACCESS_QUERY, COOKIE, HEADER, QUERY
from chatd.api.documenting import JSON, Operation, Parameter, operation_of
from chatd.api.parsing import MAX_INT64
from chatd.api.views import WRITES
from chatd.chats.parts import INTERNAL_FIELDS, AnyPart
from chatd.core.errors import Error
from chatd.core.shapes import REQUIRED
from chatd.spending.shapes import UsageLimitExceeded

SCHEMA_REF = "#/components/schemas/{name}"

PATH_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "chat": {"type": "string", "format": "uuid"},
    "file": {"type": "string", "format": "uuid"},
    "message": {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_INT64},
    "queued": {"type": "integer", "format": "int64", "maximum": MAX_INT64},
    "run": {"type": "string", "format": "uuid"},
    "call": {"type": "string", "format": "uuid", "description": "A tool call in doubt."},
    "config": {"type": "string", "format": "uuid", "description": "A model config."},
    "context": {"type": "string", "description": "The job, or the kind of chats."},
    "kind": {"type": "string", "enum": ["git", "desktop"]},
    "user_id": {"type": "string", "format": "uuid"},
    "group_id": {"type": "string", "format": "uuid"},
    "provider": {
        "type": "string",
        "description": "A provider's id; below `/ai/providers` also its name.",
    },
    "user": {"type": "string", "description": "`me`, an id or a user name."},
    "org": {"type": "string", "description": "An id or a name."},
    "group": {"type": "string", "format": "uuid"},
    "key": {"type": "string"},
    "server": {"type": "string", "format": "uuid", "description": "An MCP server."},
}

REFUSED_TO_ALL = (400, 429, 500, 503)
REFUSALS: Mapping[int, str] = {
    400: "The request is malformed, or asks for what cannot be done.",
    401: "There is no token, or it does not hold; `detail` says why.",
    403: "The caller may see this, but may not do it.",
    404: "There is no such thing, or the caller may not see it.",
    409: "The state of things does not allow it, or the Idempotency-Key was used before.",
    412: "Something the request builds on is switched off.",
    413: "The body is larger than this route takes.",
    426: "The route is a WebSocket, and the request carries no Upgrade header.",
    429: "Too many requests, or the queue is full.",
    500: "Something unexpected; `detail` has the reference of the line in the server's log.",
    502: "Another server, which this needs, did not answer as it should.",
    503: "The database cannot be reached right now.",
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "string"},
    }
}

SECURITY_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "sessionTokenHeader": {"type": "apiKey", "in": "header", "name": HEADER},
    "bearer": {"type": "http", "scheme": "bearer"},
    "sessionTokenCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "Writes need the X-CSRF-TOKEN of the browser's session as well.",
    },
    "sessionTokenQuery": {"type": "apiKey", "in": "query", "name": QUERY},
    "accessTokenQuery": {"type": "apiKey", "in": "query", "name": ACCESS_QUERY},
}

_IDEMPOTENCY_KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "description": "New for every request; the same key with the same request is answered from"
    " what was stored, for a day, and writes nothing.",
    "schema": {"type": "string", "pattern": f"^{idempotency.KEY.pattern}$"},
}
_REPLAYED = {
    idempotency.REPLAYED: {
        "description": "Present on an answer that was stored for the Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}


class _Endpoints(EndpointEnumerator):
    def get_path_from_regex(self, path_regex: str) -> str:
        """Return the path as clients are to send it: without the slash that is let pass."""
        return str(super().get_path_from_regex(path_regex)).rstrip("/")


class DocumentGenerator(SchemaGenerator):
    """Makes the whole document."""

    endpoint_inspector_cls = _Endpoints

    def get_schema(self, request: Any = None, public: bool = False) -> dict[str, Any]:
        _Components(self.registry).add_message_parts()
        document: dict[str, Any] = super().get_schema(request, public)
        document["components"]["securitySchemes"] = dict(SECURITY_SCHEMES)
        document["security"] = [{name: []} for name in SECURITY_SCHEMES]
        return document


class DocumentedSchema(AutoSchema):
    """Describes one method of a route from the `Operation` on it."""

    def get_operation(
        self,
        path: str,
        path_regex: str,
        path_prefix: str,
        method: str,
        registry: ComponentRegistry,
    ) -> dict[str, Any]:
        view = cast("ViewSet", self.view)
        stated = operation_of(getattr(view, view.action))
        components = _Components(registry)
        writes = method.lower() in WRITES and not stated.public
        described: dict[str, Any] = {
            "operationId": stated.name,
            "summary": stated.summary,
            "tags": [type(self.view).__name__.removesuffix("ViewSet")],
            "parameters": [
                *_path_parameters(path),
                *(_parameter(parameter) for parameter in stated.parameters),
                *([components.parameter("IdempotencyKey", _IDEMPOTENCY_KEY)] if writes else []),
            ],
            "responses": {
                str(stated.status): _success(stated, components, writes=writes),
                **{str(status): {"description": why} for status, why in stated.redirects.items()},
                **{
                    str(status): components.refusal(status, limited=stated.limited)
                    for status in _refusals(stated, path, writes=writes)
                },
            },
        }
        if stated.description:
            described["description"] = stated.description
        if stated.body is not None:
            content = components.content(stated.body)
            described["requestBody"] = {"required": True, "content": content}
        if stated.public:
            described["security"] = []
        return described


def _refusals(stated: Operation, path: str, *, writes: bool) -> Sequence[int]:
    """Return the statuses of a route that are refusals, those of every route included."""
    found = {*REFUSED_TO_ALL, *stated.refusals}
    if not stated.public:
        found.add(401)
    if "{" in path:
        found.add(404)
    if writes:
        found.add(409)
    return sorted(found)


def _success(stated: Operation, components: "_Components", *, writes: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(stated.status).phrase}
    if stated.answer is not None:
        answer["content"] = components.content(stated.answer)
    if writes:
        answer["headers"] = _REPLAYED
    return answer


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": parameter.schema,
    }


class _Components:
    """The named parts of the document, by what they are made of."""

    def __init__(self, registry: ComponentRegistry) -> None:
        self._registry = registry

    def content(self, shape: Any) -> dict[str, Any]:
        """Return a body by media type; see `Operation` for what `shape` may be."""
        if isinstance(shape, Mapping):
            return {media: {"schema": schema} for media, schema in shape.items()}
        return {JSON: {"schema": self._schema(shape)}}

    def refusal(self, status: int, *, limited: bool) -> dict[str, Any]:
        """Return a reference to the answer of a refusal."""
        name = HTTPStatus(status).name.title().replace("_", "")
        described: dict[str, Any] = {
            "description": REFUSALS[status],
            "content": self.content(Error),
        }
        if limited and status == 409:
            name = "ConflictOrLimit"
            described["description"] += " Or the limit of what may be spent is used up."
            both = [self._schema(UsageLimitExceeded), self._schema(Error)]
            described["content"] = {JSON: {"schema": {"anyOf": both}}}
        if status == 400:
            described["content"]["text/plain"] = {
                "schema": {"type": "string", "description": "A browser's request failed CSRF."}
            }
        if status in (429, 503):
            described["headers"] = _RETRY_AFTER
        return self._add(ResolvedComponent.RESPONSE, name, described)

    def parameter(self, name: str, described: dict[str, Any]) -> dict[str, Any]:
        return self._add(ResolvedComponent.PARAMETER, name, described)

    def add_message_parts(self) -> None:
        """Add the parts of a message as they leave the server: without internal fields."""
        (union,), parts = msgspec.json.schema_components([AnyPart], ref_template=SCHEMA_REF)
        for name, part in parts.items():
            for internal in INTERNAL_FIELDS:
                part["properties"].pop(internal, None)
            self._add(ResolvedComponent.SCHEMA, name, part)
        self._add(ResolvedComponent.SCHEMA, "MessagePart", union)

    def _schema(self, shape: Any) -> dict[str, Any]:
        (schema,), named = msgspec.json.schema_components([shape], ref_template=SCHEMA_REF)
        for name, component in named.items():
            self._add(ResolvedComponent.SCHEMA, name, _with_required(component))
        return schema

    def _add(self, kind: str, name: str, described: dict[str, Any]) -> dict[str, Any]:
        """Add a named part once. Raises ValueError when two different ones share a name."""
        component = ResolvedComponent(name, kind, schema=described, object=name)
        if component in self._registry and self._registry[component].schema != described:
            raise ValueError(f"two different {kind} are called {name}")
        self._registry.register_on_missing(component)
        return dict(component.ref)


def _with_required(component: dict[str, Any]) -> dict[str, Any]:
    """Say of members marked REQUIRED what the server says of them: given, and not null."""
    for name, member in component.get("properties", {}).items():
        if member.pop(REQUIRED, False):
            component["required"].append(name)
            member.pop("default", None)
            kinds = [kind for kind in member.pop("anyOf", []) if kind != {"type": "null"}]
            member.update(*kinds)
    return component


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document of the API, made once per process."""
    return DocumentGenerator().get_schema(public=True)
