"""Every rule that turns a failure into an error people can act on."""

import asyncio
import errno
import ssl
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest

from chatd.llm.error_answers import retry_after_seconds
from chatd.llm.errors import ErrorKind, LLMError, broken_stream, classify, error_of
from chatd.llm.types import Provider
from tests.support.provider_errors import (
    CANCELED,
    CASES,
    CLOSED,
    CONFIG,
    FAILED,
    MISMATCH,
    MISMATCH_DETAIL,
    NO_OUTPUT,
    NO_REASONING,
    REFUSED,
    RESPONSE_GONE,
    SILENT,
    STATUSES_IN_TEXTS,
    UNAVAILABLE,
    Outcome,
)

ACME = Provider(kind="openai-compat", base_url="http://x", api_key="sk-secret", display_name="Acme")
LOCAL_DEADLINE = Outcome("timeout", False, "The request timed out before it completed.")


def outcome_of(error):
    return error.kind.value, error.retryable, error.message, error.retry_message


def expected(outcome, name):
    return outcome.kind, outcome.retryable, outcome.message(name), outcome.notice(name)


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{row}: {case.id}") for row, case in CASES]
)
def test_each_row_gives_its_kind_and_sentence(case):
    error = classify((case.status, _body(case.text), {}), ACME)
    assert outcome_of(error) == expected(case.outcome, "Acme")
    assert error.provider == "openai-compat"
    assert error.retry_after_seconds is None
    assert error.status_code == (case.status or case.told)


UNNAMED_CASES = [
    (row, case)
    for row, case in CASES
    if not any(name in case.text.lower() for name in ("openai", "anthropic"))
    and row not in ("interrupted", "state mismatch", "closed early")
]


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{row}: {case.id}") for row, case in UNNAMED_CASES]
)
def test_an_unknown_provider_is_called_the_ai_provider(case):
    error = classify((case.status, _body(case.text), {}))
    assert outcome_of(error) == expected(case.outcome, "")
    assert error.provider == ""


SPECIAL = [
    ("request interrupted", CANCELED, FAILED),
    (NO_OUTPUT, MISMATCH, FAILED),
    (NO_REASONING, MISMATCH, FAILED),
]


@pytest.mark.parametrize(("text", "kept", "rebuilt"), SPECIAL)
def test_special_sentences_last_only_under_the_provider_that_the_words_name(text, kept, rebuilt):
    openai = Provider(kind="openai", base_url="")
    assert outcome_of(classify(RuntimeError(text))) == expected(kept, "")
    assert outcome_of(classify(RuntimeError(f"openai: {text}"), openai)) == expected(kept, "OpenAI")
    for said in (text, f"claude: {text}"):
        assert outcome_of(classify(RuntimeError(said), openai)) == expected(rebuilt, "OpenAI")


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("anthropic stream closed before message_stop", "anthropic", "Anthropic"),
        ("openai responses stream closed before terminal event", "openai", "OpenAI"),
    ],
)
def test_a_stream_closed_early_is_told_under_its_own_provider_alone(text, kind, name):
    own, other = Provider(kind=kind, base_url=""), Provider(kind="azure", base_url="")
    for error in (classify(RuntimeError(text)), classify(RuntimeError(text), own)):
        assert outcome_of(error) == expected(CLOSED, name)
        assert error.provider == kind
    assert outcome_of(classify(RuntimeError(text), other)) == expected(UNAVAILABLE, "Azure OpenAI")


def test_the_detail_of_a_state_mismatch_is_a_fixed_one():
    for provider in (ACME, None):
        error = classify((400, _body(NO_OUTPUT), {}), provider)
        assert error.detail == MISMATCH_DETAIL


# as https://github.com/vercel/ai/issues/7543 and
# https://github.com/maximhq/bifrost/issues/2441 show them
@pytest.mark.parametrize(
    "error",
    [
        {
            "message": "Previous response with id 'resp_1' not found.",
            "type": "invalid_request_error",
            "param": "previous_response_id",
            "code": "previous_response_not_found",
        },
        {"code": "previous_response_not_found", "message": ""},
        {
            "message": "Item with id 'rs_1' not found. Items are not persisted when `store` is set"
            " to false. Try again with `store` set to true, or remove this item from your input.",
            "type": "invalid_request_error",
            "param": "input",
            "code": None,
        },
        {
            "message": "The encrypted content for item rs_1 could not be verified.",
            "type": "invalid_request_error",
            "code": "invalid_encrypted_content",
        },
        {
            "message": "Previous response cannot be used for this organization due to Zero Data"
            " Retention.",
            "param": "previous_response_id",
        },
    ],
)
@pytest.mark.parametrize("status", [400, 404])
def test_whatever_a_provider_has_forgotten_breaks_the_chain(error, status):
    found = classify((status, msgspec.json.encode({"error": error}), {}), ACME)
    assert (found.kind, found.retryable, found.chain_broken) == (ErrorKind.GENERIC, True, True)


def test_a_forgotten_response_breaks_the_chain():
    assert classify((400, _body(RESPONSE_GONE), {}), ACME).chain_broken
    assert not classify((500, _body(""), {}), ACME).chain_broken


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("openai-compat of azure", "openai-compat"),
        ("AZURE by openrouter", "azure"),
        ("OpenRouter, bedrock, vercel", "openrouter"),
        ("bedrock of vercel: claude", "bedrock"),
        ("vercel: anthropic", "vercel"),
        ("Anthropic, not google", "anthropic"),
        ("Claude, not gemini", "anthropic"),
        ("google, not OpenAI", "google"),
        ("gemini of openai", "google"),
        ("Vertex AI", "google"),
        ("openai", "openai"),
        ("nobody", ""),
    ],
)
def test_words_may_name_the_provider_in_a_fixed_order(text, kind):
    assert classify(RuntimeError(text)).provider == kind
    assert classify((400, _body(text), {})).provider == kind
    assert classify(RuntimeError(text), ACME).provider == "openai-compat"


@pytest.mark.parametrize("case", STATUSES_IN_TEXTS, ids=lambda case: case.text)
def test_a_status_is_read_from_text_where_it_stands_alone(case):
    assert classify(RuntimeError(case.text), ACME).status_code == case.status
    assert classify((0, _body(case.text), {}), ACME).status_code == case.status


def test_a_known_status_wins_over_one_in_the_text():
    assert classify((400, _body("status 503"), {}), ACME).status_code == 400


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b'{"error": {"message": "no", "code": 429}}', 429, ErrorKind.RATE_LIMIT),
        (b'{"error": {"message": "no", "code": "429"}}', 429, ErrorKind.RATE_LIMIT),
        (b'{"error": {"message": "no", "type": "overloaded_error"}}', 0, ErrorKind.OVERLOADED),
        (b'{"error": {"message": "no", "code": "model_not_found"}}', 0, ErrorKind.CONFIG),
        (b'{"error": {"message": "no", "status": "UNAVAILABLE"}}', 0, ErrorKind.TIMEOUT),
        (b'{"error": {"message": "no", "code": 1234}}', 0, ErrorKind.GENERIC),
        (b'{"error": {"message": "no", "code": true}}', 0, ErrorKind.GENERIC),
    ],
)
def test_codes_and_types_of_a_body_count_as_its_words(body, status, kind):
    error = classify((0, body, {}), ACME)
    assert (error.status_code, error.kind, error.detail) == (status, kind, "no")


def _body(text):
    return b'{"error": {"message": "%s"}}' % text.encode()


def test_a_classified_error_is_kept():
    error = LLMError(kind=ErrorKind.AUTH, message="m")
    assert classify(error, ACME) is error


@pytest.mark.parametrize(
    ("exc", "outcome"),
    [
        (asyncio.CancelledError(), UNAVAILABLE),
        (TimeoutError(), LOCAL_DEADLINE),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), UNAVAILABLE),
        (aiohttp.ServerTimeoutError(), UNAVAILABLE),
        (aiohttp.ServerDisconnectedError(), UNAVAILABLE),
        (aiohttp.ClientPayloadError("not enough data"), UNAVAILABLE),
        (ConnectionResetError(), UNAVAILABLE),
        (ssl.SSLError("wrong version number"), UNAVAILABLE),
        (ssl.SSLCertVerificationError("self-signed certificate"), FAILED),
        (aiohttp.InvalidURL("http://user:pw@"), CONFIG),
        (aiohttp.ClientResponseError(None, (), status=400, message="no HTTP"), FAILED),
        (ValueError("no idea"), FAILED),
    ],
    ids=repr,
)
def test_exceptions_of_the_transport_are_classified(exc, outcome):
    error = classify(exc, ACME)
    assert outcome_of(error) == expected(outcome, "Acme")
    assert (error.status_code, error.provider) == (0, "openai-compat")
    assert "pw" not in error.detail


def test_kinds_without_a_row_have_their_sentences():
    assert outcome_of(error_of(ErrorKind.STARTUP_TIMEOUT, ACME)) == expected(SILENT, "Acme")
    assert outcome_of(error_of(ErrorKind.STARTUP_TIMEOUT, None)) == expected(SILENT, "")
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
        (b'{"error": {"message": " ", "detail": "why"}}', "why"),
        (b'{"error": {"message": "", "type": "overloaded_error"}}', ""),
        (b'{"error": {"message": "why", "code": 1' + b"0" * 400 + b"}}", "why"),
    ],
)
def test_the_detail_is_the_providers_own_message(body, detail):
    assert classify((400, body, {}), ACME).detail == detail


@pytest.mark.parametrize(
    ("length", "detail"),
    [(499, "x" * 499), (500, "x" * 500), (501, "x" * 499 + "…"), (5000, "x" * 499 + "…")],
)
def test_a_detail_has_five_hundred_characters_at_most(length, detail):
    assert classify((400, _body("x" * length), {}), ACME).detail == detail


@pytest.mark.parametrize(("size", "is_read"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_a_body_of_more_than_64_kib_is_ignored(size, is_read):
    body = _body("quota")
    body += b" " * (size - len(body))
    error = classify((400, body, {}), ACME)
    assert (error.kind is ErrorKind.USAGE_LIMIT, error.detail == "quota") == (is_read, is_read)
    in_stream = classify((0, b'{"code": 429}' + b" " * (size - 13), {}), ACME)
    assert in_stream.status_code == (429 if is_read else 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_where_the_provider_says_nothing(status):
    headers = {"Location": "http://user:pw@elsewhere.example"}
    error = classify((status, b"<html>moved</html>", headers), ACME)
    assert outcome_of(error) == expected(REFUSED, "Acme")
    assert error.detail == (
        "The provider redirects to another address, and redirects are not followed."
    )
    assert classify((status, _body("why"), headers), ACME).detail == "why"


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
        ({"Retry-After": "Sun, 05 Jan 2031 00:00:00 GMT"}, 3600.0),
        ({"Retry-After": "86400"}, 3600.0),
        ({"Retry-After-Ms": "86400000"}, 3600.0),
        ({"Retry-After-Ms": "0", "Retry-After": "4"}, 0.0),
        ({"Retry-After-Ms": "soon", "Retry-After": "4"}, 4.0),
        ({"Retry-After-Ms": "-1", "Retry-After": "4"}, 4.0),
        ({"Retry-After": "Thu, 01 Jan 99999999999999999999 00:00:30 GMT"}, None),
        ({"Retry-After": "Thu, 41 Jan 2026 00:00:30 GMT"}, None),
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
