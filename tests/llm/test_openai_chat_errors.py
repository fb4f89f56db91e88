"""Errors of servers on the chat/completions wire, as their bodies really look (engine 11.2).

Sources: platform.openai.com/docs/guides/error-codes, learn.microsoft.com on Azure OpenAI quotas
and content filters, openrouter.ai/docs/api-reference/errors, vercel.com/docs/ai-gateway, and the
answers of Groq, vLLM and llama.cpp's server.
"""

import json
from typing import Any

import pytest

from chatd.llm.errors import ErrorKind, LLMError, classify
from chatd.llm.types import Provider, Request
from chatd.llm.wires.openai_chat.stream import Decoder

BODIES: list[tuple[str, int, dict[str, Any], str, bool]] = [
    (
        "openai",
        401,
        {
            "message": "Incorrect API key provided: sk-no.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        },
        "auth",
        False,
    ),
    (
        "openai",
        429,
        {
            "message": "You exceeded your current quota, please check your plan and billing.",
            "type": "insufficient_quota",
            "param": None,
            "code": "insufficient_quota",
        },
        "usage_limit",
        False,
    ),
    (
        "openai",
        429,
        {
            "message": "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000.",
            "type": "tokens",
            "param": None,
            "code": "rate_limit_exceeded",
        },
        "rate_limit",
        True,
    ),
    (
        "openai",
        404,
        {
            "message": "The model `gpt-9` does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        },
        "config",
        False,
    ),
    (
        "openai",
        400,
        {
            "message": "This model's maximum context length is 128000 tokens.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
        "config",
        False,
    ),
    (
        "openai",
        503,
        {"message": "The engine is currently overloaded, please try again later"},
        "overloaded",
        True,
    ),
    (
        "openai",
        500,
        {
            "message": "The server had an error while processing your request.",
            "type": "server_error",
        },
        "generic",
        True,
    ),
    (
        "azure",
        401,
        {"code": "401", "message": "Access denied due to invalid subscription key."},
        "auth",
        False,
    ),
    (
        "azure",
        429,
        {"code": "429", "message": "You have exceeded token rate limit. Retry after 6 seconds."},
        "rate_limit",
        True,
    ),
    (
        "azure",
        404,
        {"code": "DeploymentNotFound", "message": "The API deployment does not exist."},
        "generic",
        False,
    ),
    (
        "azure",
        400,
        {
            "message": "The response was filtered due to the content management policy.",
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
        },
        "generic",
        False,
    ),
    (
        "openrouter",
        402,
        {"message": "Insufficient credits. Add more in your settings.", "code": 402},
        "usage_limit",
        False,
    ),
    (
        "openrouter",
        429,
        {"message": "Rate limit exceeded: free-models-per-min.", "code": 429, "metadata": {}},
        "rate_limit",
        True,
    ),
    (
        "openrouter",
        502,
        {
            "message": "Provider returned error",
            "code": 502,
            "metadata": {"raw": "upstream", "provider_name": "Acme"},
        },
        "timeout",
        True,
    ),
    ("openrouter", 401, {"message": "No auth credentials found", "code": 401}, "auth", False),
    (
        "vercel",
        401,
        {"message": "Authentication failed", "type": "authentication_error"},
        "auth",
        False,
    ),
    (
        "vercel",
        402,
        {"message": "Insufficient funds. Please add credits.", "type": "insufficient_funds"},
        "usage_limit",
        False,
    ),
    (
        "openai-compat",
        503,
        {"code": 503, "message": "Loading model", "type": "unavailable_error"},
        "timeout",
        True,
    ),
    (
        "openai-compat",
        413,
        {
            "message": "Request too large for model on tokens per minute (TPM): Limit 6000.",
            "type": "tokens",
            "code": "rate_limit_exceeded",
        },
        "rate_limit",
        True,
    ),
]


@pytest.mark.parametrize(
    ("kind", "status", "error", "expected", "retryable"),
    BODIES,
    ids=[f"{kind}-{status}-{expected}" for kind, status, _, expected, _ in BODIES],
)
def test_a_refused_request_is_what_its_vendor_means(
    kind: str, status: int, error: dict[str, Any], expected: str, retryable: bool
) -> None:
    body = json.dumps({"error": error}).encode()
    found = classify((status, body, {}), Provider(kind=kind, base_url="http://x"))
    assert (str(found.kind), found.retryable, found.status_code) == (expected, retryable, status)
    assert found.detail == error["message"]


def test_a_flat_body_of_vllm_is_read() -> None:
    body = {
        "object": "error",
        "message": "This model's maximum context length is 4096 tokens.",
        "type": "BadRequestError",
        "code": 400,
    }
    target = Provider(kind="openai-compat", base_url="http://x")
    found = classify((400, json.dumps(body).encode(), {}), target)
    assert (found.kind, found.detail) == (ErrorKind.CONFIG, body["message"])


def failure_in(*chunks: dict[str, Any]) -> LLMError:
    decoder = Decoder(
        Request(model="m", messages=()), Provider(kind="openrouter", base_url="http://x")
    )
    for chunk in chunks:
        decoder.feed(f"data: {json.dumps(chunk)}\n\n".encode())
    assert decoder.failure is not None
    return decoder.failure


def test_an_error_in_the_middle_of_a_stream_has_its_status_in_its_code() -> None:
    said = {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}
    failed = {
        "id": "gen-1",
        "error": {"code": 429, "message": "Provider returned error"},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
    }
    found = failure_in(said, failed)
    assert (found.kind, found.retryable, found.status_code) == (ErrorKind.RATE_LIMIT, True, 429)
