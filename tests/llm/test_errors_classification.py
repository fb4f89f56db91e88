"""Every rule that turns a failure into an error people can act on."""

import asyncio
import ssl
from datetime import UTC, datetime

import aiohttp
import pytest

from chatd.llm.errors import (
    ErrorKind,
    LLMError,
    broken_stream,
    classify,
    error_of,
    retry_after_seconds,
)
from chatd.llm.types import Provider

ACME = Provider(kind="openai-compat", base_url="http://x", api_key="sk-secret", display_name="Acme")

OVERLOADED = (ErrorKind.OVERLOADED, True, "Acme is temporarily overloaded.")
QUOTA = (
    ErrorKind.USAGE_LIMIT,
    False,
    "The usage quota for Acme has been exceeded. "
    "Check the billing and quota settings for the provider account.",
)
AUTH = (
    ErrorKind.AUTH,
    False,
    "Authentication with Acme failed. Check the API key and permissions.",
)
RATE = (ErrorKind.RATE_LIMIT, True, "Acme is rate limiting requests.")
DISABLED = (
    ErrorKind.PROVIDER_DISABLED,
    False,
    "The Acme provider has been disabled. Contact your administrator.",
)
UNAVAILABLE = (ErrorKind.TIMEOUT, True, "Acme is temporarily unavailable.")
CONFIG = (
    ErrorKind.CONFIG,
    False,
    "Acme rejected the model configuration. Check the selected model and provider settings.",
)
SERVER = (ErrorKind.GENERIC, True, "Acme returned an unexpected error.")
UNEXPECTED = (ErrorKind.GENERIC, False, "Acme returned an unexpected error.")
FAILED = (ErrorKind.GENERIC, False, "The chat request failed unexpectedly.")
CANCELED = (ErrorKind.GENERIC, False, "The request was canceled before it completed.")
MISMATCH = (
    ErrorKind.GENERIC,
    False,
    "The chat continuation failed due to an internal state mismatch. "
    "This is not a configuration or billing issue.",
)
CLOSED = (
    ErrorKind.TIMEOUT,
    True,
    "Acme stream closed unexpectedly before the response completed.",
)

ROWS = [
    (400, "request interrupted", CANCELED),
    (400, "No tool output found for function call call_1", MISMATCH),
    (400, "Item 'x' was provided without its required 'reasoning' item: 'y'", MISMATCH),
    (0, "anthropic stream closed before message_stop", CLOSED),
    (0, "openai responses stream closed before terminal event", CLOSED),
    (400, "Previous response with id 'r' not found", SERVER),
    (529, "", OVERLOADED),
    (503, "The model is overloaded", OVERLOADED),
    (429, "You exceeded your current quota", QUOTA),
    (429, "insufficient_quota", QUOTA),
    (402, "", QUOTA),
    (400, "billing hard limit", QUOTA),
    (401, "", AUTH),
    (400, "Invalid API key", AUTH),
    (400, "invalid_api_key", AUTH),
    (403, "", AUTH),
    (403, "model not found", CONFIG),
    (429, "", RATE),
    (400, "rate-limit hit", RATE),
    (400, "Too many requests", RATE),
    (429, "maximum context length is 8", CONFIG),
    (400, "provider_disabled", DISABLED),
    (408, "", UNAVAILABLE),
    (502, "", UNAVAILABLE),
    (503, "", UNAVAILABLE),
    (504, "", UNAVAILABLE),
    (400, "upstream timed out", UNAVAILABLE),
    (0, "stream error: stream ID 5; INTERNAL_ERROR; received from peer", UNAVAILABLE),
    (0, "stream error: stream ID 401; PROTOCOL_ERROR; received from peer", FAILED),
    (0, "unexpected EOF", UNAVAILABLE),
    (503, "invalid model", CONFIG),
    (404, "model_not_found", CONFIG),
    (400, "context length exceeded", CONFIG),
    (400, "malformed configuration", CONFIG),
    (500, "", SERVER),
    (0, "internal server error", SERVER),
    (400, "no idea", UNEXPECTED),
    (400, "typeof x is wrong", UNEXPECTED),
    (418, "", UNEXPECTED),
    (0, "no idea", FAILED),
]


@pytest.mark.parametrize(("status", "text", "expected"), ROWS)
def test_each_rule_of_the_table_gives_its_kind_and_sentence(status, text, expected):
    error = classify((status, _body(text), {}), ACME)
    assert (error.kind, error.retryable, error.message) == expected
    assert error.provider == "openai-compat"


def _body(text):
    return b'{"error": {"message": "%s"}}' % text.encode()


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ("upstream said status 429", 429, ErrorKind.RATE_LIMIT),
        ("got HTTP 503 from edge", 503, ErrorKind.TIMEOUT),
        ("error 401 from gateway", 401, ErrorKind.AUTH),
        ("listening on :429", 0, ErrorKind.GENERIC),
        ("stream ID 503 went away", 0, ErrorKind.GENERIC),
        ("took 5000 steps", 0, ErrorKind.GENERIC),
    ],
)
def test_a_status_is_read_from_text_where_it_stands_alone(text, status, kind):
    error = classify(RuntimeError(text), ACME)
    assert (error.status_code, error.kind) == (status, kind)


def test_a_classified_error_is_kept():
    error = LLMError(kind=ErrorKind.AUTH, message="m")
    assert classify(error, ACME) is error


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (asyncio.CancelledError(), CANCELED),
        (
            TimeoutError(),
            (ErrorKind.TIMEOUT, False, "The request timed out before it completed."),
        ),
        (aiohttp.ServerTimeoutError(), UNAVAILABLE),
        (aiohttp.ServerDisconnectedError(), UNAVAILABLE),
        (ConnectionResetError(), UNAVAILABLE),
        (ssl.SSLError("bad certificate"), UNAVAILABLE),
        (aiohttp.InvalidURL("http://user:pw@"), CONFIG),
        (ValueError("no idea"), FAILED),
    ],
)
def test_exceptions_of_the_transport_are_classified(exc, expected):
    error = classify(exc, ACME)
    assert (error.kind, error.retryable, error.message) == expected
    assert "pw" not in error.detail


def test_kinds_without_a_rule_have_their_sentences():
    assert error_of(ErrorKind.STARTUP_TIMEOUT, ACME).message == (
        "Acme did not start responding in time."
    )
    assert error_of(ErrorKind.STARTUP_TIMEOUT, ACME).retryable
    assert error_of(ErrorKind.MISSING_KEY, ACME).message == (
        "This conversation was started with an API key that is no longer available. "
        "Send your message again to continue."
    )


@pytest.mark.parametrize("kind", ErrorKind)
def test_retry_notices_carry_no_advice(kind):
    error = error_of(kind, ACME, status_code=500)
    assert error.message.startswith(error.retry_message)
    assert not error.retryable or error.retry_message == error.message
    assert "Check" not in error.retry_message


def test_names_fall_back_to_the_kind_and_then_to_plain_words():
    assert "OpenRouter" in broken_stream(Provider(kind="openrouter", base_url="")).message
    assert error_of(ErrorKind.OVERLOADED, None).message == (
        "The AI provider is temporarily overloaded."
    )
    assert "with the AI provider failed" in error_of(ErrorKind.AUTH, None).message


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"error": {"message": "why"}}', "why"),
        (b'{"error": "why"}', "why"),
        (b'{"message": "why"}', "why"),
        (b'{"detail": "why"}', "why"),
        (b'[{"error": {"message": "why"}}]', "why"),
        ("why\n", "why"),
        (b"<html>why</html>", ""),
        (b'{"error": {"message": 5}}', ""),
        (b'"why"', ""),
        (b"[" * 100_000, ""),
        (b'{"error": {"message": "' + b"x" * 70_000 + b'"}}', ""),
        (b"\xff", "\ufffd"),
    ],
)
def test_the_detail_is_the_providers_own_message(body, detail):
    assert classify((400, body, {}), ACME).detail == detail


def test_a_long_detail_is_cut_to_five_hundred_characters():
    detail = classify((400, _body("x" * 501), {}), ACME).detail
    assert (len(detail), detail[-1]) == (500, "…")


def test_a_key_a_provider_echoes_is_redacted_before_it_is_cut():
    text = "x" * 490 + " sk-secret " + "y" * 90
    error = classify((401, _body(text), {}), ACME)
    assert "sk-" not in error.detail
    assert "[redacted]"[:5] in error.detail
    assert "sk-secret" not in f"{error!r} {error} {error.__dict__} {ACME!r}"


def test_secret_headers_are_redacted_too():
    provider = Provider(kind="openai", base_url="", headers={"X-Api-Token": "tok-1", "X-Id": "7"})
    error = classify((400, _body("tok-1 of 7"), {}), provider)
    assert error.detail == "[redacted] of 7"
    assert "tok-1" not in repr(provider)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        ({"retry-after": "2"}, 2.0),
        ({"RETRY-AFTER": "0.5"}, 0.5),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 2026 00:00:30"}, 30.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After-Ms": "nan", "Retry-After": "4"}, 4.0),
    ],
)
def test_the_wait_a_provider_asks_for_is_read(headers, seconds):
    assert retry_after_seconds(headers, NOW) == seconds


def test_the_wait_is_carried_by_the_error():
    assert classify((429, b"", {"Retry-After": "2"}), ACME).retry_after_seconds == 2.0
