"""What people are told of chats that were archived for them."""

import pytest
from django.test import Client

from chatd.accounts.models import User
from chatd.chats.digests import store_digests
from chatd.chats.models import ArchiveDigest
from chatd.chats.retention import Archived
from chatd.core.ids import NIL_UUID
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def digest(alice: User) -> ArchiveDigest:
    titles = ["<b>Plans</b>", *(f"Chat {number}" for number in range(30))]
    archived = [Archived(NIL_UUID, alice.pk, title) for title in titles]
    store_digests(archived, idle_days=30, retention_days=14)
    return ArchiveDigest.objects.get()


def test_the_list_tells_what_was_archived_and_what_happens_next(
    page: Client, digest: ArchiveDigest
) -> None:
    html = page.get("/chats").content.decode()
    assert "31 of your chats were archived" in html
    assert "&lt;b&gt;Plans&lt;/b&gt;, Chat 0," in html
    assert "and 6 more." in html
    assert "is deleted 14 days later" in html
    assert "were archived" not in page.get("/chats?archived").content.decode()


def test_what_was_told_is_dismissed_for_good(page: Client, digest: ArchiveDigest) -> None:
    path = f"/chats/digests/{digest.pk}/dismiss"
    assert page.get(path).status_code == 405
    for _ in range(2):
        assert page.post(path).status_code == 302
    assert "were archived" not in page.get("/chats").content.decode()


def test_nobody_else_sees_or_dismisses_it(carol: User, digest: ArchiveDigest) -> None:
    page = browser_of(carol)
    assert "were archived" not in page.get("/chats").content.decode()
    page.post(f"/chats/digests/{digest.pk}/dismiss")
    assert ArchiveDigest.objects.exists()
