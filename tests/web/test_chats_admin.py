"""Chats and failed turns in the administration: found, looked at, stopped; never read."""

from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.formats import date_format

from chatd.accounts.models import SiteRole
from chatd.audit.models import AuditEntry
from chatd.chats.models import Chat, Status
from chatd.chats.search import index_title
from chatd.core.clock import now
from chatd.core.paging import BoundedPaginator
from chatd.providers.models import ModelConfig
from chatd.spending.ledger_models import CallKind
from tests.conftest import Cast
from tests.support.people import pending_chat
from tests.support.plans import analyze, scans
from tests.support.spending import call_model
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

LIST = "/admin/chats/chat/"
FAILED = "/admin/chats/failedturn/"
ERROR = {
    "message": "The provider is overloaded.",
    "detail": "Wait & see.",
    "kind": "rate_limit",
    "provider": "OpenAI",
    "status_code": 429,
    "retryable": True,
}

NewChat = Callable[..., Chat]


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


def shown(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def titled(chat: Chat, title: str) -> Chat:
    chat.title = title
    chat.save(update_fields=["title"])
    index_title(chat)
    return chat


def listed(browser: Client, query: str = "", path: str = LIST) -> list[str]:
    """Return the titles on a list, in their order."""
    answer = browser.get(f"{path}{query}")
    assert answer.status_code == 200
    return [chat.title for chat in answer.context["cl"].result_list]


def run(browser: Client, action: str, *chats: Chat, path: str = LIST, **more: str) -> list[str]:
    """Run an action on chats and return what is told."""
    form: dict[str, Any] = {"action": action, ACTION_CHECKBOX_NAME: [chat.pk for chat in chats]}
    answer = browser.post(path, form | more, follow=True)
    return [str(each) for each in answer.context["messages"]]


def test_chats_are_found_by_title_person_and_id(root: Client, new_chat: NewChat, cast: Cast, model):
    plans, other = titled(new_chat(), "Über plans"), titled(new_chat(), "Holiday")
    bobs = pending_chat(cast.bob, cast.organization, model)
    assert listed(root, "?q=uber+PLAN") == ["Über plans"]
    assert listed(root, f"?q={other.pk}") == ["Holiday"]
    assert listed(root, f"?q={str(other.pk).upper()}") == ["Holiday"]
    assert listed(root, "?q=bob") == listed(root, "?q=bob%40example.com") == [bobs.title]
    assert set(listed(root, f"?q={cast.alice.pk}")) == {plans.title, other.title}
    assert listed(root, f"?q={uuid4()}") == listed(root, "?q=%25") == []
    assert len(listed(root)) == 3


def test_what_is_said_in_a_chat_is_neither_found_nor_shown(root: Client, new_chat: NewChat) -> None:
    chat = titled(new_chat("the secret word is xylophone"), "Riddles")
    assert listed(root, "?q=xylophone") == []
    assert "xylophone" not in shown(root, f"{LIST}{chat.pk}/change/")


def test_chats_are_filtered(root: Client, new_chat: NewChat, model: ModelConfig) -> None:
    titled(new_chat(status=Status.WAITING), "At rest")
    titled(new_chat(status=Status.ERROR, last_error=ERROR), "Failed")
    assert listed(root, "?status__exact=error") == ["Failed"]
    for query, count in (
        ("archived__exact=1", 0),
        ("archived__exact=0", 2),
        (f"last_model_config__id__exact={model.pk}", 2),
        (f"last_model_config__ai_provider__id__exact={model.ai_provider_id}", 2),
        (f"organization__id__exact={uuid4()}", 0),
    ):
        assert len(listed(root, f"?{query}")) == count, query


def test_a_chat_shows_its_state_what_went_wrong_and_what_it_cost(
    root: Client, new_chat: NewChat
) -> None:
    chat = new_chat(status=Status.ERROR, last_error=ERROR)
    call_model(chat, 1_000_000)
    call_model(chat, 234_567, kind=CallKind.TITLE)
    call_model(chat, None, kind=CallKind.LABEL)
    html = shown(root, f"{LIST}{chat.pk}/change/")
    assert "The provider is overloaded. Wait & see. Provider: OpenAI." in html
    assert "It answered with status 429." in html
    assert html.count(date_format(chat.updated_at, "j M Y, H:i")) == 2
    assert str(chat.updated_at) not in html
    parts = "turn $1.00, title $0.234567, label $0.00"
    assert f"$1.234567 ({parts}), calls without a price: 1" in html
    for link in (
        f"/admin/spending/spend/?from={chat.created_at:%Y-%m-%d}&chat={chat.pk}&by=kind",
        f"/chats/{chat.pk}",
        f"/admin/audit/auditentry/?resource_type=chat&resource_id={chat.pk}",
        f"/api/experimental/chats/{chat.pk}/debug/runs",
    ):
        assert f'href="{link}"' in html
        assert root.get(link).status_code == 200


def test_chats_are_interrupted_and_archived_and_a_refusal_stops_no_other(
    root: Client, new_chat: NewChat
) -> None:
    running = {"status": Status.RUNNING, "lease_expires_at": now() + timedelta(minutes=1)}
    first, second = (
        titled(new_chat(**running, runner_id=uuid4()), title) for title in ("First", "Second")
    )
    assert run(root, "interrupt", first, second) == ["Interrupted 2 chats."]
    first.refresh_from_db()
    assert first.status == Status.WAITING
    assert run(root, "archive", first) == ["Archived 1 chat."]
    told = run(root, "archive", first, second)
    assert sorted(told) == ["Archived 1 chat.", "“First”: Chat is already archived."]
    assert Chat.objects.filter(archived=True).count() == 2
    assert run(root, "unarchive", first, second) == ["Unarchived 2 chats."]
    assert run(root, "unarchive", first) == ["“First”: Chat is already not archived."]
    entries = AuditEntry.objects.filter(resource_type="chat", actor_name="root")
    refused = sorted(filter(None, entries.values_list("refused", flat=True)))
    assert refused == ["Chat is already archived.", "Chat is already not archived."]
    assert len(entries) == 6


def test_no_more_than_a_page_of_chats_is_acted_on(root: Client, new_chat: NewChat) -> None:
    chats = [new_chat(status=Status.WAITING) for _ in range(52)]
    assert "Select all 5" not in shown(root, LIST)
    assert run(root, "archive", *chats, select_across="1") == ["Archived 50 chats."]


def test_failed_turns_are_a_list_of_their_own_the_newest_first(
    root: Client, new_chat: NewChat
) -> None:
    titled(new_chat(status=Status.WAITING), "At rest")
    old = titled(new_chat(status=Status.ERROR, last_error=ERROR), "Older")
    titled(new_chat(status=Status.ERROR, last_error={"message": "Boom."}), "Newer")
    assert listed(root, path=FAILED) == ["Newer", "Older"]
    html = shown(root, FAILED)
    for words in ("rate limit", "generic", "Boom.", "The provider is overloaded. Wait & see."):
        assert words in html
    assert run(root, "archive", old, path=FAILED) == ["Archived 1 chat."]
    assert listed(root, "?q=older", path=FAILED) == ["Older"]
    assert root.get(f"{FAILED}{old.pk}/change/").status_code == 200


@pytest.mark.parametrize("role", [SiteRole.AUDITOR, SiteRole.USER_ADMIN])
@pytest.mark.parametrize("path", [LIST, FAILED])
def test_only_who_may_read_chats_reaches_them(
    cast: Cast, new_chat: NewChat, role: SiteRole, path: str
) -> None:
    chat = new_chat()
    cast.bob.rbac_roles = [role]
    cast.bob.save()
    browser = browser_of(cast.bob)
    assert browser.get(path).status_code == 403
    assert browser.get(f"{path}{chat.pk}/change/").status_code == 403
    form = {"action": "archive", ACTION_CHECKBOX_NAME: [chat.pk]}
    assert browser.post(path, form).status_code == 403
    assert not Chat.objects.get(pk=chat.pk).archived


@pytest.fixture
def many(new_chat: NewChat) -> list[Chat]:
    """So many chats that going through all of them would show in the plan."""
    chat = new_chat(status=Status.WAITING)
    columns = {
        name: getattr(chat, name)
        for name in ("owner_id", "organization_id", "last_model_config_id", "status")
    }
    made = Chat.objects.bulk_create(Chat(**columns, title=f"T{n}") for n in range(3000))
    failed = {**columns, "status": Status.ERROR, "last_error": ERROR}
    made += Chat.objects.bulk_create(Chat(**failed, title=f"F{n}") for n in range(100))
    analyze()
    return made


@pytest.mark.parametrize("path", [LIST, FAILED])
@pytest.mark.parametrize("query", ["", "?q=T2999", "?p=2"])
def test_a_list_goes_through_no_table_and_costs_the_same_for_many(
    root: Client, many: list[Chat], path: str, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            listed(root, query, path)
        return len(captured)

    def read() -> None:
        listed(root, query, path)

    before = queries()
    with monkeypatch.context() as patched:
        # Counting stops at its bound, wherever it begins.
        patched.setattr(BoundedPaginator, "count", 3100)
        reads = scans(read, ("chats_chat",))
    Chat.objects.filter(pk__in=[chat.pk for chat in many[100:]]).delete()
    assert reads == []
    assert queries() == before
