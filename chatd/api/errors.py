"""One handler renders every refusal of the API as `{message, detail?, validations?}`."""

from typing import Any

import structlog
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from django.http.multipartparser import MultiPartParserError
from redis.exceptions import RedisError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from chatd.api.authentication import CsrfFailedError
from chatd.core.context import correlation_id
from chatd.core.errors import ChatdError, ErrorCode, not_found
from chatd.core.outages import database_unavailable, report_outage

log = structlog.get_logger(__name__)


def render_exception(error: Exception, context: dict[str, Any]) -> Response | HttpResponse:
    """Return the answer for an exception of a view; unknown ones are logged and become a 500."""
    set_rollback()
    if isinstance(error, CsrfFailedError):
        kind = "text/plain; charset=utf-8"
        return HttpResponse(error.message, status=400, content_type=kind, headers=error.headers)
    refusal = as_chatd_error(error)
    response = Response(refusal.body(), status=refusal.http_status, headers=refusal.headers)
    if isinstance(error, exceptions.MethodNotAllowed):
        response.status_code = 405
        response["Allow"] = ", ".join(context["view"].allowed_methods)
    return response


def as_chatd_error(error: Exception) -> ChatdError:
    """Return the refusal that stands for any exception."""
    match error:
        case ChatdError():
            return error
        case Http404():
            return not_found()
        case exceptions.MethodNotAllowed():
            return ChatdError(ErrorCode.BAD_REQUEST, "Method not allowed.")
        case exceptions.APIException():
            return ChatdError(ErrorCode.BAD_REQUEST, str(error.detail))
        case SuspiciousOperation() | BadRequest() | MultiPartParserError():
            # Django refuses what it was made to parse: too many parameters, an oversized form.
            return ChatdError(ErrorCode.BAD_REQUEST, "The request is malformed.", detail=str(error))
        case OperationalError() | InterfaceError():
            report_outage(error, during="a request")
            return database_unavailable()
        case RedisError():
            log.warning("live layer unavailable", error=str(error))
            return ChatdError(
                ErrorCode.UNAVAILABLE,
                "The live layer is not available right now. Try again.",
                retry_after_seconds=1,
            )
        case _:
            log.error("unexpected error", exc_info=error)
            return ChatdError(
                ErrorCode.INTERNAL,
                "An internal server error occurred.",
                detail=f"Reference: {correlation_id()}",
            )
