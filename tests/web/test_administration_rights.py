"""Who may open which page of the administration: the table in the policy, through real pages."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from chatd.accounts.models import User
from chatd.accounts.policy import (
    ADMINISTRATION,
    OrganizationRight,
    SiteRight,
    every_organization_rights,
    site_rights,
)
from tests.conftest import Cast
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

MODELS = sorted(model._meta.label_lower for model in admin.site._registry)


def _list_of(model: str) -> str:
    return reverse(f"admin:{model.replace('.', '_')}_changelist")


def _may_view(user: User, model: str) -> bool:
    held: frozenset[SiteRight | OrganizationRight] = frozenset(
        {*site_rights(user), *every_organization_rights(user)}
    )
    return ADMINISTRATION[model][0] in held


def test_every_page_has_an_entry_in_the_table() -> None:
    assert set(MODELS) <= set(ADMINISTRATION)


@pytest.mark.parametrize("role", ["owner", "auditor", "user-admin"])
def test_a_site_role_opens_what_its_rights_say_and_nothing_else(cast: Cast, role: str) -> None:
    cast.alice.rbac_roles = [role]
    cast.alice.save()
    page = browser_of(cast.alice)
    menu = page.get("/admin/").content.decode()
    opened = set()
    for model in MODELS:
        seen = _may_view(cast.alice, model)
        assert page.get(_list_of(model)).status_code == (200 if seen else 403), model
        assert (f'href="{_list_of(model)}"' in menu) == seen, model
        opened |= {model} if seen else set()
    assert opened == set(MODELS) if role == "owner" else set() < opened < set(MODELS)


@pytest.mark.parametrize("user", ["alice", "carol"])
def test_people_without_a_site_role_are_told_so(cast: Cast, user: str) -> None:
    page = browser_of(getattr(cast, user))
    answer = page.get("/admin/", follow=True)
    assert answer.status_code == 403
    assert "The administration is not open to you." in answer.content.decode()


def test_strangers_sign_in_where_everybody_does(client: Client, db: None) -> None:
    assert client.get("/admin/accounts/user/", follow=True).redirect_chain[-1] == (
        "/login?next=%2Fadmin%2Faccounts%2Fuser%2F",
        302,
    )


def test_signing_out_of_the_administration_signs_out(cast: Cast) -> None:
    page = browser_of(cast.root)
    assert page.post("/admin/logout/").status_code == 302
    assert page.get("/admin/").status_code == 302


def test_what_was_done_to_something_is_read_in_the_audit_log(cast: Cast) -> None:
    page = browser_of(cast.root)
    history = f"/admin/accounts/user/{cast.alice.pk}/history/"
    answer = page.get(history, follow=True)
    assert answer.redirect_chain[-1][0].endswith(f"?resource_id={cast.alice.pk}")
    assert answer.status_code == 200
