"""What a route promises, stated on its method with `Operation`; `openapi` makes the document.

Stated here is what cannot be read from the code: the answer and its status, the body, the
parameters and the refusals of this route. Refusals that every route has are added there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

Handler = TypeVar("Handler", bound=Callable[..., Any])
Schema = Mapping[str, Any]

JSON = "application/json"
BINARY: Schema = {"type": "string", "format": "binary"}
_ATTRIBUTE = "documented_operation"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or of another `place`, as OpenAPI calls it.

    Bounds stand in `schema` only where the server refuses what is outside.
    """

    name: str
    schema: Schema
    description: str = ""
    required: bool = False
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route, as a decorator of the viewset method that serves it.

    `answer` and `body` are types: a TypedDict, a Struct, a list of one; None is nothing, and a
    mapping gives a JSON Schema for each media type. `redirects` are the statuses that lead a
    browser elsewhere instead, each with when and where. `refusals` are the statuses of this route
    beside those that every route has. `public` routes are answered to everybody, `limited` ones
    are refused to who has used up their usage limit.
    """

    name: str
    summary: str
    _: KW_ONLY
    description: str = ""
    answer: Any = None
    status: int = 200
    body: Any = None
    parameters: Sequence[Parameter] = ()
    redirects: Mapping[int, str] = field(default_factory=dict)
    refusals: Sequence[int] = ()
    public: bool = False
    limited: bool = False

    def __call__(self, handler: Handler) -> Handler:
        setattr(handler, _ATTRIBUTE, self)
        return handler


def operation_of(handler: Callable[..., Any]) -> Operation:
    """Return what a viewset method promises. Raises LookupError when it does not say."""
    found: Operation | None = getattr(handler, _ATTRIBUTE, None)
    if found is None:
        raise LookupError(f"{handler.__qualname__} serves a route and has no Operation.")
    return found


def integer(name: str, description: str, *, least: int = 0, most: int) -> Parameter:
    return Parameter(name, {"type": "integer", "minimum": least, "maximum": most}, description)


def text(name: str, description: str, *, required: bool = False, **schema: Any) -> Parameter:
    """Return a text parameter; `schema` holds further members of its JSON Schema."""
    return Parameter(name, {"type": "string", **schema}, description, required)


def uuid(name: str, description: str, *, required: bool = False) -> Parameter:
    return text(name, description, required=required, format="uuid")


def texts(name: str, description: str) -> Parameter:
    """Return a text parameter that may be given more than once."""
    return Parameter(name, {"type": "array", "items": {"type": "string"}}, description)
