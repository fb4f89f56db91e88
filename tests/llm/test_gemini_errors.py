"""What Google answers when it refuses, as error kinds.

The bodies are those of https://ai.google.dev/gemini-api/docs/troubleshooting and of the
`google.rpc.Status` that the API writes; where a stream is asked for they stand in a list.
"""

import json
from typing import Any

import pytest

from chatd.llm.errors import ErrorKind, classify
from chatd.llm.types import Provider

GOOGLE = Provider(kind="google", base_url="http://x", api_key="secret-key")
KEY_INVALID = {
    "code": 400,
    "message": "API key not valid. Please pass a valid API key.",
    "status": "INVALID_ARGUMENT",
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
    ],
}
QUOTA = {
    "code": 429,
    "message": "You exceeded your current quota, please check your plan and billing details.",
    "status": "RESOURCE_EXHAUSTED",
    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
}


def error(code: int, status: str, message: str) -> dict[str, Any]:
    return {"code": code, "status": status, "message": message}


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize(
    ("told", "kind", "retryable"),
    [
        (KEY_INVALID, ErrorKind.AUTH, False),
        (QUOTA, ErrorKind.USAGE_LIMIT, False),
        (error(429, "RESOURCE_EXHAUSTED", "Resource exhausted."), ErrorKind.RATE_LIMIT, True),
        (error(503, "UNAVAILABLE", "The model is overloaded."), ErrorKind.OVERLOADED, True),
        (error(503, "UNAVAILABLE", "High demand."), ErrorKind.TIMEOUT, True),
        (error(504, "DEADLINE_EXCEEDED", "Deadline expired."), ErrorKind.TIMEOUT, True),
        (error(500, "INTERNAL", "An internal error has occurred."), ErrorKind.GENERIC, True),
        (error(403, "PERMISSION_DENIED", "No permission."), ErrorKind.AUTH, False),
        (error(401, "UNAUTHENTICATED", "No credentials."), ErrorKind.AUTH, False),
        (error(400, "INVALID_ARGUMENT", "Unknown name"), ErrorKind.GENERIC, False),
        (error(400, "FAILED_PRECONDITION", "Location."), ErrorKind.GENERIC, False),
        (error(404, "NOT_FOUND", "models/x is not found"), ErrorKind.GENERIC, False),
    ],
)
def test_a_refusal_has_its_kind(
    told: dict[str, Any],
    kind: ErrorKind,
    retryable: bool,
    as_list: bool,
) -> None:
    body = {"error": told}
    raw = json.dumps([body] if as_list else body).encode()
    found = classify((told["code"], raw, {}), GOOGLE)
    assert (found.kind, found.retryable, found.status_code) == (kind, retryable, told["code"])
    assert found.detail == told["message"]
    inside = classify((0, raw, {}), GOOGLE)
    assert (inside.kind, inside.retryable) == (kind, retryable)
