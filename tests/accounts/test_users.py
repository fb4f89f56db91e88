"""Creating people, signing them in, and which organisation they speak of."""

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from chatd.accounts.actions import create_user, default_organization
from chatd.accounts.backends import UsernameOrEmailBackend
from chatd.accounts.models import (
    LoginType,
    Organization,
    OrganizationMember,
    SiteRole,
    User,
    UserStatus,
)
from chatd.accounts.selectors import list_organizations_for, own_organization
from chatd.core.errors import ChatdError
from tests.conftest import Cast

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _cheap_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def new(username: str = "dora", **fields) -> User:
    return create_user(
        **{"username": username, "email": f"{username}@example.com", "password": None, **fields}
    )


def refused(status: int, **fields) -> ChatdError:
    before = User.objects.count()
    with pytest.raises(ChatdError) as caught:
        new(**fields)
    assert caught.value.http_status == status
    assert User.objects.count() == before
    return caught.value


def test_a_new_person_is_a_member_of_the_default_organisation(db):
    user = new(password=PASSWORD, name="Dora")
    assert (user.name, user.login_type) == ("Dora", LoginType.PASSWORD)
    assert [member.organization for member in user.memberships.all()] == [default_organization()]
    assert PASSWORD not in user.password


def test_a_person_may_be_in_no_organisation_or_in_several(db):
    others = [Organization.objects.create(name=f"o{i}") for i in range(2)]
    assert new("one", organizations=[]).memberships.count() == 0
    assert new("two", organizations=others).memberships.count() == 2


def test_without_a_password_nobody_signs_in(db):
    user = new()
    assert user.login_type == LoginType.NONE
    assert not user.has_usable_password()
    assert not new("eve", password="").has_usable_password()


@pytest.mark.parametrize("username", ["a", "A1", "a-b-c", "9", "x" * 32])
def test_a_good_name(db, username):
    assert new(username).username == username


@pytest.mark.parametrize(
    "username",
    ["", "-a", "a-", "a--b", "a b", "a_b", "a@b", "ä", "x" * 33, "a\n", "\na", "a\x00", "é"],
)
def test_a_bad_name_is_refused(db, username):
    error = refused(400, username=username)
    assert [entry.field for entry in error.validations] == ["username"]


@pytest.mark.parametrize("password", ["short", "12345678", "password", "dora-dora"])
def test_a_weak_password_is_refused_unless_the_operator_chose_it(db, password):
    error = refused(400, password=password, username="dora-dora")
    assert {entry.field for entry in error.validations} == {"password"}
    assert new("dora-dora", password=password, check_strength=False).check_password(password)


def test_a_name_or_an_address_is_taken_in_any_case(cast: Cast):
    refused(409, username="ALICE")
    refused(409, username="dora", email="Alice@Example.com")
    assert not OrganizationMember.objects.filter(user__username="dora").exists()


def test_the_name_of_somebody_who_is_gone_is_free_again(cast: Cast):
    cast.alice.deleted = True
    cast.alice.save()
    assert new("alice").pk != cast.alice.pk


def test_many_people_may_have_no_address(db):
    new("one", email="")
    new("two", email="")


def test_there_is_one_default_organisation(db):
    assert default_organization() == default_organization()
    assert Organization.objects.filter(is_default=True).count() == 1


def test_a_site_role_opens_the_administration_and_nothing_else_does(cast: Cast):
    assert cast.root.is_staff
    assert cast.root.is_superuser
    assert not cast.alice.is_staff
    cast.root.status = UserStatus.SUSPENDED
    assert not cast.root.is_staff
    auditor = new("aud", site_roles=[SiteRole.AUDITOR])
    assert auditor.is_staff
    assert not auditor.is_superuser
    assert auditor.has_perms(["audit.view_auditentry", "accounts.view_user"])
    for denied in ("accounts.change_user", "chats.view_chat", "sessions.view_session", "nonsense"):
        assert not auditor.has_perm(denied)


# Signing in


@pytest.fixture
def dora(db) -> User:
    return new(password=PASSWORD)


@pytest.mark.parametrize("name", ["dora", "DORA", "dora@example.com", "Dora@Example.COM"])
def test_one_signs_in_by_name_or_address_in_any_case(dora, name):
    assert authenticate(username=name, password=PASSWORD) == dora


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("dora", "wrong"),
        ("dora", ""),
        ("dora", None),
        ("", PASSWORD),
        (None, PASSWORD),
        ("nobody", PASSWORD),
        ("dora\x00", PASSWORD),
        ("dora", f"{PASSWORD}\x00"),
        ("dora\n", PASSWORD),
        ("%", PASSWORD),
        ("dor_", PASSWORD),
    ],
)
def test_anything_else_signs_nobody_in(dora, name, password):
    assert authenticate(username=name, password=password) is None


@pytest.mark.parametrize(
    "change",
    [{"status": UserStatus.SUSPENDED}, {"deleted": True}, {"login_type": LoginType.OIDC}],
    ids=["suspended", "deleted", "elsewhere"],
)
def test_somebody_who_may_not_act_does_not_sign_in_and_is_signed_out(dora, change):
    backend = UsernameOrEmailBackend()
    assert backend.get_user(dora.pk) == dora
    User.objects.filter(pk=dora.pk).update(**change)
    assert authenticate(username="dora", password=PASSWORD) is None
    if "login_type" not in change:
        assert backend.get_user(dora.pk) is None


def test_a_dormant_person_signs_in(dora):
    User.objects.filter(pk=dora.pk).update(status=UserStatus.DORMANT)
    assert authenticate(username="dora", password=PASSWORD) == dora


def test_an_empty_address_is_nobodys_name(db):
    new("blank", email="", password=PASSWORD)
    assert authenticate(username=" ", password=PASSWORD) is None


def test_an_unknown_name_costs_as_much_as_a_wrong_password(dora, settings, monkeypatch):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1)
    dora.set_password(PASSWORD)
    dora.save()
    hashed: list[str] = []
    real = PBKDF2PasswordHasher.encode

    def encode(self, password, salt, iterations=None):
        hashed.append(password)
        return real(self, password, salt, iterations)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", encode)
    for name in ("dora", "nobody"):
        hashed.clear()
        assert authenticate(username=name, password="wrong") is None
        assert hashed == ["wrong"]


# The organisation of a request that names none


def test_the_own_organisation_is_the_default_one_or_the_only_one(cast: Cast):
    elsewhere = list_organizations_for(cast.carol)[0]
    assert own_organization(cast.alice) == cast.organization.pk
    assert own_organization(cast.carol) == elsewhere.pk
    OrganizationMember.objects.create(organization=elsewhere, user=cast.alice)
    assert own_organization(cast.alice) == cast.organization.pk
    OrganizationMember.objects.filter(user=cast.carol).delete()
    assert own_organization(cast.carol) is None
