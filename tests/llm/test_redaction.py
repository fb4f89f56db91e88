"""What is taken out of model calls before they are kept."""

import json
from typing import Any

import pytest

from chatd.llm.redaction import (
    CUT,
    MAX_DEPTH,
    REDACTED,
    TOO_DEEP,
    UNREADABLE,
    Redactor,
    is_secret_name,
)
from chatd.llm.types import Provider

KEY = "sk-canary-5d1f"
REDACTOR = Redactor(
    Provider(
        kind="azure",
        base_url="https://h",
        api_key=f" {KEY} ",
        headers={"X-Gateway-Token": "gateway-canary", "codersessiontoken": "session-canary"},
    )
)
LIMIT = 50_000


def body(document: Any) -> Any:
    return json.loads(REDACTOR.body(json.dumps(document).encode(), LIMIT))


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "x-api-key",
        "api-key",
        "Proxy-Authorization",
        "cookie",
        "Set-Cookie",
        "client_secret",
        "SECRETS",
        "userPassword",
        "aws-credentials",
        "token",
        "accessToken",
        "refresh_token",
        "id_token",
        "key",
        "apiKey",
        "API_KEY",
        "private-key",
        "X-Amz-Security-Token",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert REDACTOR.headers({name: "canary"}) == {name: REDACTED}
    assert body({"a": [{name: {"b": "canary"}}]}) == {"a": [{name: REDACTED}]}


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "prompt_tokens",
        "content-type",
        "user-agent",
        "keyboard",
        "monkey",
        "tokens",
        "x-request-id",
        "content",
        "retry-after",
        "x-ratelimit-remaining-tokens",
    ],
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)
    assert REDACTOR.headers({name: "7"}) == {name: "7"}
    assert body({name: 7}) == {name: 7}


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (f"Bad key {KEY}.", f"Bad key {REDACTED}."),
        (f'{{"key": "{KEY}"}}', f'{{"key":"{REDACTED}"}}'),
        ('{"password": "canary", "n": [1]}', f'{{"password":"{REDACTED}","n":[1]}}'),
        ('{"a":  1}', '{"a":  1}'),
        (f'["{KEY[:3]}\\u002d{KEY[4:]}', f'["{KEY[:3]}\\u002d{KEY[4:]}'),
        (f"[not JSON {KEY}", f"[not JSON {REDACTED}"),
        ("the password is well kept", "the password is well kept"),
    ],
)
def test_texts(told: str, kept: str) -> None:
    assert REDACTOR.text(told) == kept
    assert body({"content": told}) == {"content": kept}


def test_the_key_goes_from_names_and_wherever_it_is_written_otherwise() -> None:
    escaped = f'{{"{KEY}": "a\\u002d{KEY}", "b": "{KEY.replace("-", chr(92) + "u002d")}"}}'
    assert json.loads(REDACTOR.body(escaped.encode(), LIMIT)) == {
        REDACTED: f"a-{REDACTED}",
        "b": REDACTED,
    }


def test_values_of_headers_of_the_call_go_wherever_they_are_when_their_names_are_secret() -> None:
    assert REDACTOR.text("it was session-canary") == f"it was {REDACTED}"


def test_nothing_is_taken_out_for_a_key_that_is_blank() -> None:
    nobody = Redactor(Provider(kind="openai", base_url="https://h"))
    assert nobody.text("plain") == "plain"
    assert Redactor().text("plain") == "plain"


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"", ""),
        (b"  \n", ""),
        (b"<html>canary</html>", UNREADABLE),
        (b"\xff\xfe canary", UNREADABLE),
        (b'{"password": "canary', UNREADABLE),
        (
            b'data: {"token": "canary", "n": 1}\n\ndata: [DONE]\n\n',
            f'data: {{"token":"{REDACTED}","n":1}}\n\ndata: [DONE]\n',
        ),
        (b'event: x\ndata: {"n": 1}\n', 'event: x\ndata: {"n":1}'),
        (b"data: canary\n\n", f"data: {UNREADABLE}\n"),
        (b'canary\ndata: {"n": 1}\n', f'{UNREADABLE}\ndata: {{"n":1}}'),
        (b'data: {"n": 1}\n\ndata: {"canary', f'data: {{"n":1}}\n\n{CUT}'),
    ],
)
def test_bodies_that_are_not_json(raw: bytes, kept: str) -> None:
    assert REDACTOR.body(raw, LIMIT) == kept


def test_a_long_body_is_redacted_before_it_is_cut() -> None:
    raw = json.dumps({"password": "canary" * 20, "text": "é" * 100}).encode()
    kept = REDACTOR.body(raw, 61)
    assert kept.startswith(f'{{"password":"{REDACTED}","text":"é')
    assert kept.endswith(CUT)
    assert len(kept.removesuffix(CUT).encode()) in (60, 61)


def test_a_body_that_is_nested_without_end_is_cut_off() -> None:
    nested: Any = "canary"
    for _ in range(MAX_DEPTH + 5):
        nested = [nested]
    kept = json.dumps(body({"a": nested}))
    assert TOO_DEEP in kept
    assert "canary" not in kept


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h:1/v1/chat?api-version=1", "https://h:1/v1/chat?api-version=1"),
        ("https://us:canary@h/v1", "https://h/v1"),
        ("https://h/v1?key=canary&a=b#canary", f"https://h/v1?key={REDACTED}&a=b"),
        (f"https://h/{KEY}/v1", f"https://h/{REDACTED}/v1"),
        ("https://[canary", REDACTED),
    ],
)
def test_addresses(url: str, kept: str) -> None:
    assert REDACTOR.url(url) == kept
