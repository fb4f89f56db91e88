"""The administration page of API tokens: seen, revoked, never told."""

from datetime import timedelta

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client

from chatd.accounts.actions import create_session, create_token
from chatd.accounts.models import APIKey, OrganizationMember, User
from chatd.core.clock import now
from tests.conftest import Cast
from tests.web.administration import PEOPLE, TOKENS, shown, told
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


def listed(client: Client, query: str) -> set[str]:
    """Return the names of the tokens that a list shows."""
    html = shown(client, f"{TOKENS}{query}")
    return {key.token_name for key in APIKey.objects.all() if f"{key.pk}/change/" in html}


def test_tokens_are_filtered_and_searched(root: Client, cast: Cast) -> None:
    create_token(user=cast.alice, name="fresh")
    old, _ = create_token(user=cast.alice, name="old")
    APIKey.objects.filter(pk=old.pk).update(expires_at=now() - timedelta(days=1), last_used=now())
    create_token(user=cast.bob, name="narrow", scopes=["chat:read"])
    create_session(cast.bob)
    assert listed(root, "") == {"fresh", "old", "narrow", ""}
    assert listed(root, "?state=expired") == {"old"}
    assert listed(root, "?state=valid") == {"fresh", "narrow", ""}
    assert listed(root, "?state=never_used") == {"fresh", "narrow", ""}
    assert listed(root, "?kind=token") == {"fresh", "old", "narrow"}
    assert listed(root, "?scopes=limited") == {"narrow"}
    assert listed(root, "?scopes=chat") == {"narrow"}
    assert listed(root, "?scopes=audit_log") == set()
    assert listed(root, "?scopes=all") == {"fresh", "old", ""}
    assert listed(root, "?q=fres") == {"fresh"}
    assert listed(root, "?q=bob") == {"narrow", ""}


def test_neither_the_secret_nor_its_hash_is_on_a_page(root: Client, cast: Cast) -> None:
    key, text = create_token(user=cast.alice, name="ci")
    secret = text.partition("-")[2]
    for address in (TOKENS, f"{TOKENS}{key.pk}/change/", f"{TOKENS}{key.pk}/delete/"):
        html = shown(root, address)
        assert "ci" in html
        assert secret not in html
        assert key.hashed_secret not in html


def test_nothing_about_a_token_is_changed_and_none_is_made(root: Client, cast: Cast) -> None:
    key, _ = create_token(user=cast.alice)
    assert root.get(f"{TOKENS}add/").status_code == 403
    page = f"{TOKENS}{key.pk}/change/"
    assert root.post(page, {"scopes": "[]", "token_name": "x"}).status_code == 403
    assert APIKey.objects.get().token_name == ""


def test_a_revoked_token_is_told_of(root: Client, cast: Cast) -> None:
    key, _ = create_token(user=cast.alice)
    assert "It cannot be brought back." in shown(root, f"{TOKENS}{key.pk}/delete/")
    root.post(f"{TOKENS}{key.pk}/delete/", {"post": "yes"})
    assert not APIKey.objects.filter(pk=key.pk).exists()
    assert [(kind, action) for kind, action, _ in told()] == [("api_key", "delete")]


def test_several_tokens_are_revoked_at_once_each_with_an_entry(root: Client, cast: Cast) -> None:
    keys = [create_token(user=user)[0].pk for user in (cast.alice, cast.bob)]
    form = {"action": "delete_selected", ACTION_CHECKBOX_NAME: keys}
    assert "Are you sure" in root.post(TOKENS, form).content.decode()
    assert APIKey.objects.count() == 2
    root.post(TOKENS, form | {"post": "yes"})
    assert APIKey.objects.count() == 0
    assert [entry[:2] for entry in told()] == [("api_key", "delete")] * 2


def test_the_tokens_of_a_person_are_reached_from_their_page(root: Client, cast: Cast) -> None:
    create_token(user=cast.alice, name="hers")
    create_token(user=cast.bob, name="his")
    assert f"user__id__exact={cast.alice.pk}" in shown(root, f"{PEOPLE}{cast.alice.pk}/change/")
    assert listed(root, f"?user__id__exact={cast.alice.pk}") == {"hers"}


def test_a_user_admin_sees_and_ends_only_tokens_of_people_they_look_after(cast: Cast) -> None:
    User.objects.filter(pk=cast.bob.pk).update(rbac_roles=["user-admin"])
    OrganizationMember.objects.filter(user=cast.carol).update(roles=["organization-admin"])
    people = (cast.alice, cast.bob, cast.carol, cast.root)
    keys = {user.username: create_token(user=user, name=user.username)[0] for user in people}
    page = browser_of(User.objects.get(pk=cast.bob.pk))
    assert listed(page, "") == {"alice", "bob"}
    for name in ("carol", "root"):
        page.post(f"{TOKENS}{keys[name].pk}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "post": "yes"}
    page.post(TOKENS, chosen | {ACTION_CHECKBOX_NAME: [key.pk for key in keys.values()]})
    assert set(APIKey.objects.values_list("token_name", flat=True)) == {"carol", "root"}
    cast.organization.default_org_member_roles = ["organization-admin"]
    cast.organization.save()
    create_token(user=cast.alice, name="alice")
    assert listed(page, "") == set()
