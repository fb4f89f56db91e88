"""The one error type of the product. Views, sockets and pages render it; nothing else is shown.

A message is a full sentence that says what is wrong; `detail` adds what to do or the exact value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NotRequired, TypedDict

from chatd.core.shapes import shaped


class ErrorCode(StrEnum):
    """What kind of refusal it is; each has one HTTP status."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition_failed"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    INTERNAL = "internal"
    BAD_GATEWAY = "bad_gateway"
    UNAVAILABLE = "unavailable"


HTTP_STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.PRECONDITION_FAILED: 412,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.TOO_MANY: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.BAD_GATEWAY: 502,
    ErrorCode.UNAVAILABLE: 503,
}

NOT_FOUND_MESSAGE = "Resource not found or you do not have access to this resource"


class FieldError(TypedDict):
    """One field that was refused, by its JSON name."""

    field: str
    detail: str


class Error(TypedDict):
    """Every refusal: a sentence for people, where useful with a detail and the fields."""

    message: str
    detail: NotRequired[str]
    validations: NotRequired[list[FieldError]]


@dataclass(frozen=True, slots=True)
class Validation:
    """One field that was refused, by its JSON name.

    `advice` is for people who see the name of the field beside it: what it has to be, without a
    subject. Where there is none, `detail` is a sentence for them too.
    """

    field: str
    detail: str
    advice: str = ""


def given_repeatedly(name: str, times: int) -> Validation:
    """Return the refusal of a query parameter that takes one value and was given several."""
    return Validation(
        name,
        f'Query param "{name}" provided more than once, found {times} times.'
        " Only provide 1 instance of this query param.",
    )


class ChatdError(Exception):
    """A refusal with a code, a message for people and, where useful, a detail and fields.

    `headers` go with the answer over HTTP.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        detail: str = "",
        validations: Sequence[Validation] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail
        self.validations = tuple(validations)
        self.headers: dict[str, str] = {}
        if retry_after_seconds is not None:
            self.headers["Retry-After"] = str(retry_after_seconds)

    @property
    def http_status(self) -> int:
        return HTTP_STATUS[self.code]

    def body(self) -> Error:
        """Return the JSON body; empty members are left out."""
        fields: list[FieldError] = [
            {"field": entry.field, "detail": entry.detail} for entry in self.validations
        ]
        body: Error = {"message": self.message, "detail": self.detail, "validations": fields}
        return shaped(Error, body)


def bad_request(
    message: str, *, detail: str = "", validations: Sequence[Validation] = ()
) -> ChatdError:
    return ChatdError(ErrorCode.BAD_REQUEST, message, detail=detail, validations=validations)


def forbidden(message: str = "Forbidden.", *, detail: str = "") -> ChatdError:
    return ChatdError(ErrorCode.FORBIDDEN, message, detail=detail)


def not_found(message: str = NOT_FOUND_MESSAGE, *, detail: str = "") -> ChatdError:
    return ChatdError(ErrorCode.NOT_FOUND, message, detail=detail)


def conflict(message: str, *, detail: str = "") -> ChatdError:
    return ChatdError(ErrorCode.CONFLICT, message, detail=detail)
