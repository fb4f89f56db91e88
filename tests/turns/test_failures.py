"""How long a turn waits after a failure, and what followers and the chat are told of it."""

import dataclasses
from datetime import datetime

import pytest
import time_machine

from chatd.llm.errors import ErrorKind, LLMError, classify, error_of
from chatd.llm.types import Provider
from chatd.providers.selectors import Unusable, UnusableModelError
from chatd.turns import model_calls
from chatd.turns.failures import error_of_call, error_of_setup, retry_notice
from config.env import env

ACME = Provider(kind="openai-compat", base_url="http://x", display_name="Acme")
NOW = datetime.fromisoformat("2026-01-01T12:00:00+00:00")


@pytest.fixture(autouse=True)
def _standard_delays(monkeypatch):
    standard = dataclasses.replace(env, retry_first_delay_seconds=1, retry_max_delay_seconds=60)
    monkeypatch.setattr(model_calls, "env", standard)


def pause(failures, headers=None):
    return model_calls.back_off_seconds(classify((429, b"", headers or {}), ACME), failures)


def test_pauses_double_from_one_second_to_a_minute():
    pauses = [pause(failures) for failures in range(1, model_calls.MAX_ATTEMPTS)]
    assert pauses == [1, 2, 4, 8, 16, 32, *[60] * 18]


@pytest.mark.parametrize(
    ("headers", "failures", "seconds"),
    [
        ({"Retry-After": "20"}, 1, 20),
        ({"Retry-After": "20"}, 6, 32),
        ({"Retry-After": "90"}, 24, 90),
        ({"Retry-After-Ms": "2500", "Retry-After": "20"}, 1, 2.5),
        ({"Retry-After-Ms": "2500"}, 3, 4),
        ({"Retry-After": "0"}, 2, 2),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:30 GMT"}, 1, 30),
        ({"Retry-After": "Thu, 01 Jan 2026 12:00:30 GMT"}, 7, 60),
        ({"Retry-After": "Thu, 01 Jan 2026 11:00:00 GMT"}, 1, 1),
    ],
)
def test_the_longer_of_both_pauses_counts(headers, failures, seconds):
    with time_machine.travel(NOW, tick=False):
        assert pause(failures, headers) == seconds


def test_a_retry_notice_has_all_that_is_known():
    error = classify((429, b'{"error": {"message": "slow down"}}', {}), ACME)
    with time_machine.travel(NOW, tick=False):
        assert retry_notice(error, attempt=3, delay_seconds=1.001) == {
            "attempt": 3,
            "delay_ms": 1001,
            "error": "Acme is rate limiting requests.",
            "kind": "rate_limit",
            "provider": "openai-compat",
            "status_code": 429,
            "retrying_at": "2026-01-01T12:00:01.001000Z",
        }


def test_a_retry_notice_leaves_out_what_is_not_known():
    error = error_of(ErrorKind.STARTUP_TIMEOUT, None)
    with time_machine.travel(NOW, tick=False):
        assert retry_notice(error, attempt=1, delay_seconds=0) == {
            "attempt": 1,
            "delay_ms": 0,
            "error": "The AI provider did not start responding in time.",
            "kind": "startup_timeout",
            "retrying_at": "2026-01-01T12:00:00Z",
        }


def test_an_error_of_a_call_has_all_that_is_known():
    error = classify((401, b'{"error": {"message": "bad key"}}', {}), ACME)
    assert error_of_call(error) == {
        "message": "Authentication with Acme failed. Check the API key and permissions.",
        "detail": "bad key",
        "kind": "auth",
        "provider": "openai-compat",
        "retryable": False,
        "status_code": 401,
    }
    assert error_of_call(LLMError(kind=ErrorKind.GENERIC, message="m")) == {
        "message": "m",
        "kind": "generic",
        "retryable": False,
    }


@pytest.mark.parametrize(
    ("reason", "kind", "message"),
    [
        (
            Unusable.PROVIDER_DISABLED,
            "provider_disabled",
            "The Acme provider has been disabled. Contact your chatd administrator.",
        ),
        (
            Unusable.NO_ADDRESS,
            "config",
            "The Acme provider has no base URL. Contact your chatd administrator.",
        ),
        (
            Unusable.MODEL_DISABLED,
            "config",
            "The model of this chat has been disabled. Choose another one and send again.",
        ),
        (
            Unusable.NO_MODEL,
            "config",
            "No model is configured. Contact your chatd administrator.",
        ),
        (
            Unusable.NAMED_BY_SETTING,
            "config",
            "The model that is set for this cannot be used. Contact your chatd administrator.",
        ),
        (
            Unusable.KEY_MISSING,
            "missing_key",
            "The Acme provider has no API key. Contact your chatd administrator.",
        ),
        (
            Unusable.OWN_KEY_NEEDED,
            "missing_key",
            "The Acme provider needs an API key of your own. Add it and send again.",
        ),
        (
            Unusable.OWN_KEY_UNREADABLE,
            "missing_key",
            "Your own key for the Acme provider cannot be read. Enter it again.",
        ),
        (
            Unusable.KEY_UNREADABLE,
            "config",
            "The key of the Acme provider cannot be read. An administrator must enter it again,"
            " or bring back the encryption key that it was stored under.",
        ),
    ],
)
def test_what_cannot_be_called_says_what_to_do(reason, kind, message):
    error = error_of_setup(UnusableModelError(reason, text="for the log", provider="Acme"))
    assert error == {"message": message, "kind": kind, "retryable": False}


def test_every_reason_has_its_sentence():
    for reason in Unusable:
        assert error_of_setup(UnusableModelError(reason, text=""))["message"]
