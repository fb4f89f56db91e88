"""New people and new passwords: typed, or made by chatd and shown once."""

import re
from html import unescape

import pytest
from django.contrib.sessions.models import Session
from django.http import HttpResponse
from django.test import Client

from chatd.accounts.actions import create_session, create_token, create_user
from chatd.accounts.models import APIKey, Organization, User
from chatd.audit.models import AuditEntry
from tests.conftest import Cast
from tests.web.administration import PEOPLE, shown, told
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

ADD = f"{PEOPLE}add/"
STRONG = "a-long-password-of-hers"
PASSWORD = re.compile(r'value="((?:[a-z0-9]{5}-){3}[a-z0-9]{5})"')


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


@pytest.fixture
def helper(cast: Cast) -> Client:
    """Somebody who looks after people and nothing else."""
    cast.bob.rbac_roles = ["user-admin"]
    cast.bob.save()
    return browser_of(cast.bob)


def form(**changes: object) -> dict[str, object]:
    return {
        "username": "nina",
        "email": "nina@example.com",
        "name": "Nina",
        "login_type": "password",
        "how": "generated",
    } | changes


def text(answer: HttpResponse) -> str:
    return unescape(answer.content.decode())


def made_password(answer: HttpResponse) -> str:
    found = PASSWORD.search(text(answer))
    assert found is not None
    return found[1]


def signs_in(username: str, password: str) -> bool:
    answer = Client().post("/login", {"username": username, "password": password})
    return answer.status_code == 302


def test_a_made_password_is_in_the_answer_and_nowhere_else(root: Client) -> None:
    answer = root.post(ADD, form())
    password = made_password(answer)
    assert signs_in("nina", password)
    assert "no-store" in answer["Cache-Control"]
    for address in ("/admin/", PEOPLE, f"{PEOPLE}{User.objects.get(username='nina').pk}/change/"):
        assert password not in shown(root, address)
    assert password not in str([session.get_decoded() for session in Session.objects.all()])
    assert password not in str(list(AuditEntry.objects.values()))
    assert told() == [
        (
            "user",
            "create",
            [
                "deleted",
                "email",
                "login_type",
                "name",
                "organizations",
                "password",
                "roles",
                "status",
                "username",
            ],
        ),
        ("user", "login", []),
    ]


def test_two_made_passwords_differ(root: Client) -> None:
    first = made_password(root.post(ADD, form()))
    assert made_password(root.post(ADD, form(username="olga", email="o@example.com"))) != first


def test_a_typed_password_is_not_shown(root: Client) -> None:
    answer = root.post(ADD, form(how="typed", password=STRONG), follow=True)
    assert answer.redirect_chain
    assert STRONG not in text(answer)
    assert signs_in("nina", STRONG)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"how": "typed"}, "Type a password, or have one made."),
        ({"how": "typed", "password": "1234"}, "too short"),
        ({"username": "no spaces"}, "Must be 1 to 32 letters"),
        ({"username": "ALICE"}, "already in use"),
        ({"email": "Alice@Example.com"}, "already in use"),
        ({"email": ""}, "This field is required."),
    ],
)
def test_what_is_wrong_is_said_in_the_form_with_all_that_was_typed(
    root: Client, changes: dict[str, object], said: str
) -> None:
    answer = root.post(ADD, form(**changes))
    assert answer.status_code == 200
    assert said in text(answer)
    assert 'value="Nina"' in text(answer)
    assert not User.objects.filter(name="Nina").exists()


def test_who_does_not_sign_in_here_gets_no_password(root: Client) -> None:
    assert root.post(ADD, form(login_type="none", password=STRONG)).status_code == 302
    assert not User.objects.get(username="nina").has_usable_password()


def test_roles_and_organisations_are_given_at_once(root: Client) -> None:
    elsewhere = Organization.objects.get(name="elsewhere")
    root.post(ADD, form(organizations=[str(elsewhere.pk)], rbac_roles=["auditor", "user-admin"]))
    nina = User.objects.get(username="nina")
    assert nina.rbac_roles == ["auditor", "user-admin"]
    assert [member.organization for member in nina.memberships.all()] == [elsewhere]


def test_the_form_says_what_each_role_may_do(root: Client) -> None:
    html = shown(root, ADD)
    assert "Read people, organisations, settings and the audit log." in html


def test_a_user_admin_makes_people_and_cannot_give_roles(helper: Client) -> None:
    html = shown(helper, ADD)
    assert len(re.findall(r'name="rbac_roles"[^>]*disabled', html)) == 3
    answer = helper.post(ADD, form(rbac_roles=["owner"]))
    assert made_password(answer)
    assert User.objects.get(username="nina").rbac_roles == []


def test_an_auditor_makes_nobody(cast: Cast) -> None:
    cast.bob.rbac_roles = ["auditor"]
    cast.bob.save()
    page = browser_of(cast.bob)
    assert page.get(ADD).status_code == 403
    assert page.post(ADD, form()).status_code == 403
    assert not User.objects.filter(username="nina").exists()


# a new password for somebody


@pytest.fixture
def dora(db: None, cast: Cast) -> User:
    return create_user(username="dora", email="dora@example.com", password=STRONG)


def password_page(person: User) -> str:
    return f"{PEOPLE}{person.pk}/password/"


def test_a_new_password_is_made_and_ends_sessions(root: Client, dora: User) -> None:
    browser = browser_of(dora)
    create_session(dora)
    token, _ = create_token(user=dora)
    password = made_password(root.post(password_page(dora), {"how": "generated"}))
    assert not signs_in("dora", STRONG)
    assert signs_in("dora", password)
    assert browser.get("/chats").status_code == 302
    assert list(APIKey.objects.filter(user=dora)) == [token]


def test_a_typed_password_is_checked(root: Client, dora: User) -> None:
    page = password_page(dora)
    assert "Type the new password" in text(root.post(page, {"how": "typed"}))
    assert "too short" in text(root.post(page, {"how": "typed", "password": "12"}))
    assert signs_in("dora", STRONG)
    answer = root.post(page, {"how": "typed", "password": "another-long-password"}, follow=True)
    assert "dora has the new password" in text(answer)
    assert "another-long-password" not in text(answer)
    assert signs_in("dora", "another-long-password")


def test_ones_own_password_takes_the_old_one_and_keeps_this_session(dora: User, cast: Cast) -> None:
    dora.rbac_roles = ["owner"]
    dora.save()
    browser, page = browser_of(dora), password_page(dora)
    wrong = {"how": "typed", "password": "another-long-password", "old_password": "wrong"}
    assert "Old password is incorrect." in text(browser.post(page, wrong))
    browser.post(page, wrong | {"old_password": STRONG})
    assert browser.get("/admin/").status_code == 200
    assert signs_in("dora", "another-long-password")


def test_a_user_admin_sets_no_password_of_an_owner(helper: Client, cast: Cast, dora: User) -> None:
    assert helper.get(password_page(cast.root)).status_code == 403
    assert helper.post(password_page(cast.root), {"how": "generated"}).status_code == 403
    assert made_password(helper.post(password_page(dora), {"how": "generated"}))


def test_who_signs_in_elsewhere_has_no_password_to_set(root: Client, cast: Cast) -> None:
    assert "does not sign in with a password" in shown(root, password_page(cast.alice))
    answer = root.post(password_page(cast.alice), {"how": "generated"})
    assert not PASSWORD.search(text(answer))
