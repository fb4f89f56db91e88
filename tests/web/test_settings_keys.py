"""The page of one's own keys for AI providers: which key is used is told in words."""

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import User
from chatd.audit.models import AuditEntry
from chatd.core.fields import open_secret, seal
from chatd.providers.actions import save_provider
from chatd.providers.models import AIProvider, UserAIProviderKey
from tests.conftest import Cast
from tests.web.conftest import browser_of
from tests.web.test_settings_pages import html_of

PATH = "/settings/keys"
SECRET = "canary-7f3a9c51e2"


def add(
    name: str = "openai", *, shared: str = "", kind: str = "openai", **flags: Any
) -> AIProvider:
    row = AIProvider(type=kind, name=name, base_url="http://127.0.0.1:9/v1", **flags)
    return save_provider(row, new_key=shared)


def give(user: User, provider: AIProvider, stored: str = "") -> None:
    stored = stored or seal(SECRET)
    UserAIProviderKey.objects.create(user=user, provider=provider, api_key=stored)


def keep(page: Client, provider: AIProvider, api_key: str = SECRET) -> Any:
    return page.post(PATH, {"form": f"key:{provider.pk}", "api_key": api_key})


def drop(page: Client, provider: AIProvider) -> Any:
    return page.post(PATH, {"form": f"drop:{provider.pk}"})


def marks(page: Client) -> list[str]:
    """Return the state of each provider, in short."""
    pieces = html_of(page.get(PATH)).split('<span class="badge"')[1:]
    return [piece.partition(">")[2].partition("<")[0] for piece in pieces]


@pytest.mark.parametrize(
    ("shared", "own", "mark", "says"),
    [
        ("", None, "No key", "cannot be used until you enter a key"),
        ("of all", None, "Shared key", "The shared key of this server is used."),
        ("of all", "", "Own key", "Your own key is used"),
        ("", "", "Own key", "Your own key is used"),
        ("of all", "v1:abcdefabcdef:lost", "Own key: enter it again", "cannot be read any more"),
    ],
)
def test_a_person_sees_which_key_is_used(
    page: Client, alice: User, shared: str, own: str | None, mark: str, says: str
) -> None:
    provider = add(shared=shared)
    if own is not None:
        give(alice, provider, own)
    assert marks(page) == [mark]
    html = html_of(page.get(PATH))
    assert says in html
    assert ("Remove your key" in html) == (own is not None)
    assert ("Replace the key" in html) == (own is not None)


def test_a_provider_that_needs_no_key_says_so(page: Client) -> None:
    add(kind="openai-compat")
    assert "No key is stored, and the provider may need none." in html_of(page.get(PATH))


def test_a_provider_without_any_key_that_takes_none_of_ones_own_points_to_an_administrator(
    page: Client,
) -> None:
    add(allow_user_api_key=False, allow_central_api_key_fallback=False)
    html = html_of(page.get(PATH))
    assert "An administrator can enter a shared key." in html
    assert "<form" not in html.partition("key-card")[2]


def test_a_key_is_stored_replaced_and_removed(page: Client, alice: User) -> None:
    provider = add(shared="of all")
    for key in ("first", "second"):
        response = keep(page, provider, f" {key}\t")
        assert response["Location"] == f"{PATH}#key-{provider.pk}"
        assert open_secret(UserAIProviderKey.objects.get().api_key) == key
        assert "Your key for openai is stored." in html_of(page.get(PATH))
    assert marks(page) == ["Own key"]
    for _ in range(2):
        assert drop(page, provider).status_code == 302
        assert "Your key is removed." in html_of(page.get(PATH))
    assert marks(page) == ["Shared key"]
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["create", "write", "delete"]


@pytest.mark.parametrize(
    ("api_key", "reason"),
    [
        ("", "API key is required."),
        (" \t ", "API key is required."),
        (SECRET + "x" * 10_240, "API key too large."),
    ],
)
def test_a_refused_key_says_why_beside_its_field_and_is_not_shown(
    page: Client, api_key: str, reason: str
) -> None:
    provider, other = add(), add("other")
    html = html_of(keep(page, provider, api_key), 400)
    _, _, errors = html.partition(f'id="key-{provider.pk}-api_key-error"')
    assert reason in errors.partition("</div>")[0]
    assert f"key-{other.pk}-api_key-error" not in html
    assert SECRET not in html
    assert not UserAIProviderKey.objects.exists()


def test_what_cannot_be_done_any_more_is_told_above(page: Client, alice: User) -> None:
    provider = add(enabled=False)
    assert "AI provider is disabled." in html_of(keep(page, provider), 412)
    provider.deleted = True
    provider.save()
    assert "Not found" in html_of(keep(page, provider), 404)
    assert page.post(PATH, {"form": "key:nonsense"}).status_code == 400


def test_a_key_for_a_provider_that_was_switched_off_can_only_be_removed(
    page: Client, alice: User
) -> None:
    provider = add(enabled=False)
    assert marks(page) == []
    give(alice, provider)
    assert marks(page) == ["Switched off"]
    assert "Replace the key" not in html_of(page.get(PATH))
    drop(page, provider)
    assert marks(page) == []


def test_where_own_keys_are_not_allowed_there_is_a_sentence_and_what_was_stored_can_go(
    page: Client, alice: User, byok: Callable[[bool], None]
) -> None:
    provider = add(shared="of all")
    add("other")
    byok(False)
    html = html_of(page.get(PATH))
    assert "does not allow provider keys of one" in html
    assert "key-card" not in html
    assert "BYOK is disabled." in unescape(html_of(keep(page, provider), 403))
    give(alice, provider)
    assert marks(page) == ["Shared key"]
    html = html_of(page.get(PATH))
    assert "kept, and not used" in html
    assert "Replace the key" not in html
    drop(page, provider)
    assert marks(page) == []


def test_nobody_sees_the_keys_of_somebody_else(page: Client, cast: Cast) -> None:
    provider = add()
    give(cast.bob, provider)
    assert marks(page) == ["No key"]
    drop(page, provider)
    assert UserAIProviderKey.objects.count() == 1
    assert marks(browser_of(cast.bob)) == ["Own key"]


def test_the_page_opens_in_four_queries_for_one_and_ten_providers(
    page: Client, alice: User
) -> None:
    give(alice, add("first", shared="x"))
    with CaptureQueriesContext(connection) as one:
        page.get(PATH)
    for number in range(9):
        give(alice, add(f"more-{number}", shared="x"))
    with CaptureQueriesContext(connection) as ten:
        assert len(marks(page)) == 10
    assert len(one) == len(ten) == 4, (
        "the session, its person, providers with own keys, shared ones"
    )
