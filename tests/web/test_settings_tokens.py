"""The page of one's own API tokens."""

from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actions import create_session, create_token
from chatd.accounts.models import APIKey, User
from chatd.accounts.tokens import authenticate_token
from chatd.audit.models import AuditEntry
from chatd.core.clock import now
from chatd.core.errors import ChatdError
from chatd.web.settings_pages import tokens
from chatd.web.settings_pages.tokens import TOKENS_PER_PAGE
from tests.conftest import Cast
from tests.web.conftest import browser_of
from tests.web.test_settings_pages import html_of

PATH = "/settings/tokens"


def create(page: Client, name: str = "laptop", **fields: Any) -> Any:
    typed = {"lifetime": "30", "reach": "limited", "scopes": ["chat:*"], "token_name": name}
    return page.post(PATH, {"form": "token", **typed, **fields})


def shown_key(html: str) -> str:
    _, _, rest = html.partition('id="new-token"')
    return rest.partition('value="')[2].partition('"')[0]


def test_a_new_token_is_shown_once_and_works(page: Client, alice: User) -> None:
    response = create(page, scopes=["chat:read", "chat:create"])
    html = html_of(response)
    text = shown_key(html)
    key = authenticate_token(text)
    assert (key.user_id, key.token_name) == (alice.pk, "laptop")
    assert key.scopes == ["chat:read", "chat:create"]
    assert key.lifetime_seconds == 30 * 86_400
    assert "no-store" in response["Cache-Control"]
    again = html_of(page.get(PATH))
    assert "laptop" in again
    assert text.partition("-")[2] not in again
    assert AuditEntry.objects.get().resource_type == "api_key"


def test_a_new_token_is_in_no_session_cookie_or_log(
    page: Client, caplog: pytest.LogCaptureFixture
) -> None:
    response = create(page)
    secret = shown_key(html_of(response)).partition("-")[2]
    assert secret
    assert secret not in caplog.text
    assert secret not in str(response.cookies)
    assert all(secret not in str(each.get_decoded()) for each in Session.objects.all())


def test_sending_the_form_again_makes_no_second_token(page: Client, alice: User) -> None:
    create(page)
    html = html_of(create(page), 409)
    assert "already in use" in html
    assert 'id="new-token"' not in html
    assert alice.api_keys.count() == 1


def test_a_token_for_everything_has_no_scopes_whatever_is_ticked(page: Client) -> None:
    html = html_of(create(page, reach="everything", scopes=["chat:read"]))
    assert authenticate_token(shown_key(html)).scopes == []
    assert "Everything that you may do</p>" in html


@pytest.mark.parametrize(
    ("typed", "field", "reason"),
    [
        ({"token_name": " "}, "token_name", "Give it one"),
        ({"token_name": "x" * 65}, "token_name", "Name must be at most 64 characters."),
        ({"lifetime": "0"}, "lifetime", "must be positive and at most 365 days."),
        ({"lifetime": "366"}, "lifetime", "must be positive and at most 365 days."),
        ({"lifetime": "soon"}, "lifetime", "must be a whole number of days."),
        ({"lifetime": "9" * 40}, "lifetime", "must be a whole number of days."),
        ({"scopes": []}, "scopes", "Tick what"),
        ({"scopes": ["chat:fly"]}, "scopes", "must be one of"),
    ],
)
def test_a_refused_token_says_why_and_keeps_what_was_typed(
    page: Client, alice: User, typed: dict[str, Any], field: str, reason: str
) -> None:
    sent = {"token_name": "kept", "lifetime": "77", "scopes": ["group:read"], **typed}
    html = unescape(html_of(create(page, **sent), 400))
    _, _, errors = html.partition(f'id="token-{field}-error"')
    assert reason in errors.partition("</div>")[0]
    for name in ("token_name", "lifetime"):
        assert f'value="{sent[name]}"' in html
    assert html.count(" checked") == 1 + ("group:read" in sent["scopes"])
    assert ('class="more" open' in html) == ("group:read" in sent["scopes"])
    assert not alice.api_keys.exists()


def test_the_deployment_says_how_long_a_token_may_live(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "env", replace(tokens.env, token_max_days=7))
    html = html_of(page.get(PATH))
    assert 'value="7"' in html
    assert 'max="7"' in html


def test_the_list_says_what_each_token_is_and_marks_those_that_expired(
    page: Client, alice: User, cast: Cast
) -> None:
    create_token(user=alice, name="mine", scopes=["chat:read"])
    old, _ = create_token(user=alice, name="old")
    yesterday = now() - timedelta(days=1)
    APIKey.objects.filter(pk=old.pk).update(expires_at=yesterday, last_used=yesterday)
    create_token(user=cast.bob, name="of bob")
    create_session(alice)
    html = html_of(page.get(PATH))
    rows = html.partition('<ul class="rows')[2].partition("</ul>")[0]
    assert rows.count("<li") == 2
    assert rows.count("Expired</span>") == 1
    assert rows.index("old") < rows.index("mine"), "the newest first"
    for text in ("last used yesterday", "never used", "chat:read", "Everything that you may do"):
        assert text in rows
    assert "of bob" not in html


def test_a_thousand_tokens_open_page_by_page_in_four_queries(page: Client, alice: User) -> None:
    def listed(query: str = "") -> tuple[int, str]:
        with CaptureQueriesContext(connection) as queries:
            html = html_of(page.get(PATH + query))
        return len(queries), html

    create_token(user=alice, name="first")
    assert listed()[0] == 4, "the session, its person, the count, the page"
    until = now() + timedelta(days=1)
    APIKey.objects.bulk_create(
        APIKey(id=f"{n:010}", user=alice, hashed_secret="x", token_name=f"token {n}",
               lifetime_seconds=1, expires_at=until)
        for n in range(999)
    )  # fmt: skip
    count, html = listed()
    assert count == 4
    assert html.count('class="row"') == TOKENS_PER_PAGE
    assert "Page 1 of 40" in html
    assert 'rel="prev"' not in html
    last = listed("?page=40")[1]
    assert "first" in last
    assert 'rel="next"' not in last
    for beyond in ("?page=0", "?page=x", "?page=-1", "?page=²"):
        assert "Page 1 of 40" in listed(beyond)[1]
    assert 'href="?page=40" rel="prev"' in listed("?page=999999")[1]


# revoking


def test_revoking_asks_first_then_ends_the_token(page: Client, alice: User) -> None:
    key, text = create_token(user=alice, name="laptop")
    link = f"{PATH}/{key.pk}/revoke"
    assert f'href="{link}"' in html_of(page.get(PATH))
    assert "Revoke “laptop”?" in html_of(page.get(link))
    assert authenticate_token(text)
    assert page.post(link)["Location"] == PATH
    with pytest.raises(ChatdError, match="signed out"):
        authenticate_token(text)
    html = html_of(page.get(PATH))
    assert "The token “laptop” is revoked." in html
    assert "You have no tokens yet." in html


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_token_that_is_gone_leads_back_to_the_list(
    page: Client, alice: User, method: str
) -> None:
    key, _ = create_token(user=alice)
    link = f"{PATH}/{key.pk}/revoke"
    page.post(link)
    page.get(PATH)
    assert getattr(page, method)(link)["Location"] == PATH
    assert "There is no such token any more." in html_of(page.get(PATH))


def test_neither_somebody_elses_token_nor_a_session_can_be_revoked_here(cast: Cast) -> None:
    of_bob, own_session = create_token(user=cast.bob)[0], create_session(cast.alice)[0]
    page = browser_of(cast.alice)
    for key in (of_bob, own_session):
        assert page.post(f"{PATH}/{key.pk}/revoke")["Location"] == PATH
        assert APIKey.objects.filter(pk=key.pk).exists()


@pytest.mark.parametrize("key_id", ["%00", "x" * 500, "%F0%9F%90%99"])
def test_an_id_that_no_token_can_have_leads_back_to_the_list(page: Client, key_id: str) -> None:
    assert page.get(f"{PATH}/{key_id}/revoke")["Location"] == PATH


def test_revoking_takes_signing_in_and_the_forms_own_token(alice: User) -> None:
    key, _ = create_token(user=alice)
    link = f"{PATH}/{key.pk}/revoke"
    assert Client().post(link)["Location"].startswith("/login?")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    assert strict.post(link).status_code == 403
    assert APIKey.objects.filter(pk=key.pk).exists()
