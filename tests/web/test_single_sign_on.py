"""Signing in with a real OpenID provider, a process of its own, over real HTTP."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from time_machine import Traveller

from chatd.accounts.actions import create_token, create_user
from chatd.accounts.actor import Actor
from chatd.accounts.groups import GroupChanges, create_group, update_group
from chatd.accounts.models import (
    ExternalIdentity,
    Group,
    GroupMember,
    GroupSource,
    LoginType,
    Organization,
    OrganizationMember,
    SiteRole,
    User,
    UserStatus,
)
from chatd.accounts.oidc.tokens import oidc_token_for
from chatd.accounts.selectors import list_identities_for
from chatd.accounts.users import (
    NewPassword,
    delete_user,
    set_login_type,
    set_password,
    suspend_user,
)
from chatd.audit.models import AuditEntry
from chatd.core.crypto import SecretState
from chatd.core.errors import ChatdError
from chatd.core.fields import secret_state
from tests.conftest import Cast
from tests.support import oidc

pytestmark = pytest.mark.django_db

DORA = "dora-at-the-provider"
QUERIES = 32
"""Of a later sign-in, with savepoints and the session."""

GROUPS = {
    "GROUPS_CLAIM": "groups",
    "GROUPS": '{"Developers": "dev-team"}',
    "ROLES": '{"chatd-admins": "owner"}',
}
Configure = Callable[..., None]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc.provider_process() as url:
        yield url


@pytest.fixture(autouse=True)
def _as_they_were(issuer: str) -> None:
    for user in oidc.USERS:
        oidc.set_claims(issuer, **{**user, "subject": user["sub"]})


@pytest.fixture
def sso(issuer: str, configure: Configure) -> Configure:
    """Configure the provider, with more variables when it is called."""

    def change(**variables: str) -> None:
        configure(single_sign_on=oidc.configured(issuer, **variables))

    change()
    return change


def leave(client: Client, next_url: str = "") -> str:
    """Press the button; return where the provider is."""
    answer = client.post("/login/oidc", {"next": next_url})
    assert answer.status_code == 302, answer.content
    return str(answer["Location"])


def sign_in(subject: str = DORA, client: Client | None = None, next_url: str = "") -> Any:
    client = client or Client()
    back = oidc.let_in(leave(client, next_url), subject)
    return client.get(back.removeprefix("http://testserver"))


def words(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def entries() -> list[tuple[str, str, str, str]]:
    return list(
        AuditEntry.objects.order_by("id").values_list(
            "actor_name", "action", "resource_name", "refused"
        )
    )


def groups_of(user: User) -> set[str]:
    return set(GroupMember.objects.filter(user=user).values_list("group__name", flat=True))


# the page and the way there


def test_without_a_provider_there_is_no_trace_of_one() -> None:
    client = Client()
    html = client.get("/login").content.decode()
    assert "oidc" not in html.lower()
    assert "single" not in html.lower()
    assert client.post("/login/oidc").status_code == 404
    assert client.get("/login/oidc/callback?state=a&code=b").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/accounts/login/", "/accounts/signup/", "/accounts/email/", "/oidc/oidc/login/", "/signup"],
)
def test_no_page_of_allauth_is_there(sso: Configure, path: str) -> None:
    assert Client().get(path).status_code == 404


def test_the_page_has_a_button_with_the_name_of_the_deployment(sso: Configure) -> None:
    sso(LABEL="Example <Inc>")
    html = Client().get("/login?next=/chats?archived").content.decode()
    assert "Example &lt;Inc&gt;</button>" in html
    assert html.count('name="next" value="/chats?archived"') == 2
    assert "Password" in html


def test_the_way_to_the_provider_is_a_form_with_its_token(sso: Configure) -> None:
    assert Client().get("/login/oidc").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/login/oidc").status_code == 403
    assert Client().post("/login/oidc/callback").status_code == 405


def test_the_way_carries_state_nonce_and_pkce_and_nothing_the_browser_added(
    sso: Configure, issuer: str
) -> None:
    sso(SCOPES="openid email groups")
    client = Client()
    answer = client.post("/login/oidc?scope=admin&auth_params=prompt%3Dnone&process=connect")
    query = oidc.query_of(answer["Location"])
    assert answer["Location"].startswith(f"{issuer}/oauth2/authorize?")
    assert set(query) == {
        *("client_id", "redirect_uri", "response_type", "scope", "state", "nonce"),
        *("code_challenge", "code_challenge_method"),
    }
    assert query["client_id"] == oidc.CLIENT_ID
    assert query["redirect_uri"] == "http://testserver/login/oidc/callback"
    assert query["response_type"] == "code"
    assert sorted(query["scope"].split()) == ["email", "groups", "openid"]
    assert query["code_challenge_method"] == "S256"
    assert (len(query["nonce"]), len(query["code_challenge"])) == (43, 43)
    other = oidc.query_of(leave(client))
    assert query["nonce"] != other["nonce"]
    assert query["state"] != other["state"]


def test_leaving_for_the_provider_is_limited_like_calls_of_the_api(
    issuer: str, configure: Configure, clock: Traveller
) -> None:
    configure(api_rate_limit=2, single_sign_on=oidc.configured(issuer))
    assert [Client().post("/login/oidc").status_code for _ in range(3)] == [302, 302, 429]


# first and later sign-ins


def test_whoever_the_provider_lets_in_gets_an_account(sso: Configure, cast: Cast) -> None:
    client = Client()
    before = client.session.session_key
    answer = sign_in(client=client, next_url="/chats?archived")

    assert (answer.status_code, answer["Location"]) == (302, "/chats?archived")
    assert client.get("/chats").status_code == 200
    user = User.objects.get(email="dora@example.com")
    assert (user.username, user.name) == ("Dora-Example", "Dora Example")
    assert (user.login_type, user.status, user.rbac_roles) == ("oidc", "active", [])
    assert [joined.organization for joined in user.memberships.all()] == [cast.organization]
    assert not user.has_usable_password()
    assert groups_of(user) == set()
    assert client.session["_auth_user_id"] == str(user.pk)
    assert client.session.session_key != before
    assert entries() == [
        ("single sign-on", "create", "Dora-Example", ""),
        ("Dora-Example", "login", "Dora-Example", ""),
    ]


def test_the_session_has_a_new_key_after_signing_in(sso: Configure) -> None:
    client = Client()
    back = oidc.let_in(leave(client), DORA)
    anonymous = client.session.session_key
    client.get(back.removeprefix("http://testserver"))
    assert client.session.session_key != anonymous
    assert not client.session.exists(anonymous)


def test_the_session_holds_for_the_api_too_and_ends_with_the_account(
    sso: Configure, cast: Cast
) -> None:
    client = Client()
    sign_in(client=client)
    assert client.get("/api/v2/users/me").json()["login_type"] == "oidc"
    delete_user(Actor(cast.root), "Dora-Example")
    assert client.get("/api/v2/users/me").status_code == 401


def test_a_later_sign_in_costs_the_same_whatever_the_number_of_groups(
    sso: Configure, issuer: str
) -> None:
    sso(**GROUPS, CREATE_GROUPS="yes")
    counted = []
    for number in (1, 100):
        claims = {"groups": [f"group-{n}" for n in range(number)]}
        oidc.set_claims(issuer, DORA, email="dora@example.com", email_verified=True, **claims)
        sign_in()
        client = Client()
        back = oidc.let_in(leave(client), DORA).removeprefix("http://testserver")
        with CaptureQueriesContext(connection) as queries:
            assert client.get(back).status_code == 302
        counted.append(len(queries))
    assert counted == [QUERIES, QUERIES]


def test_the_second_sign_in_finds_the_same_person(sso: Configure, issuer: str) -> None:
    sign_in()
    first = User.objects.get(email="dora@example.com")
    oidc.set_claims(issuer, DORA, email="dora@new.example", email_verified=True, name="Dora New")
    User.objects.filter(pk=first.pk).update(status=UserStatus.DORMANT)
    sign_in()
    again = User.objects.get(pk=first.pk)
    assert (again.email, again.name, again.status) == ("dora@new.example", "Dora Example", "active")
    assert ExternalIdentity.objects.count() == 1
    sign_in("erik-at-the-provider")
    assert set(User.objects.filter(login_type="oidc").values_list("username", flat=True)) == {
        "Dora-Example",
        "erik",
    }


def test_a_new_address_that_is_not_verified_or_is_taken_is_not_followed(
    sso: Configure, issuer: str, cast: Cast
) -> None:
    sign_in()
    oidc.set_claims(issuer, DORA, email="ALICE@example.com", email_verified=True)
    assert sign_in().status_code == 302
    oidc.set_claims(issuer, DORA, email="dora@new.example", email_verified=False)
    assert sign_in().status_code == 302
    assert User.objects.get(username="Dora-Example").email == "dora@example.com"


def test_a_name_that_is_taken_gets_a_number(sso: Configure, cast: Cast) -> None:
    create_user(username="dora-example", email="", password=None)
    create_user(username="dora", email="", password=None)
    sign_in()
    assert User.objects.get(email="dora@example.com").username == "Dora-Example-2"


def test_signing_out_ends_the_session_here(sso: Configure) -> None:
    client = Client()
    sign_in(client=client)
    assert client.post("/logout")["Location"] == "/login"
    assert client.get("/chats").status_code == 302


@pytest.mark.parametrize(
    "next_url",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""],
)
def test_signing_in_never_leads_to_another_site(sso: Configure, next_url: str) -> None:
    assert sign_in(next_url=next_url)["Location"] == "/chats"


def test_somebody_else_in_the_same_browser_starts_with_a_new_session(
    sso: Configure, cast: Cast
) -> None:
    client = Client()
    client.force_login(cast.alice)
    client.session["of-alice"] = "hers"
    sign_in(client=client)
    assert client.session["_auth_user_id"] == str(User.objects.get(username="Dora-Example").pk)
    assert "of-alice" not in client.session


# who is refused


def test_cancelling_at_the_provider_comes_back_as_a_sentence(sso: Configure) -> None:
    client = Client()
    back = oidc.cancel(leave(client, "/chats?archived"))
    # This provider forgets the state, which others send.
    state = next(iter(client.session["socialaccount_states"]))
    answer = client.get(f"{back.removeprefix('http://testserver')}&state={state}")
    assert answer.status_code == 403
    assert "did not let you in, or you cancelled" in words(answer)
    assert 'value="/chats?archived"' in answer.content.decode()


def test_a_person_without_a_verified_address_gets_no_account(sso: Configure) -> None:
    answer = sign_in("nora-at-the-provider")
    assert answer.status_code == 403
    assert "has not verified your e-mail address. Confirm the address there" in words(answer)
    assert not User.objects.filter(login_type="oidc").exists()
    refused = "The identity provider has not verified your e-mail address."
    assert entries() == [("single sign-on", "login", "nora@example.com", refused)]


def test_a_provider_without_verification_can_be_trusted(sso: Configure) -> None:
    sso(TRUST_EMAILS="yes")
    assert sign_in("nora-at-the-provider").status_code == 302


def test_a_person_without_an_address_gets_no_account(sso: Configure, issuer: str) -> None:
    oidc.set_claims(issuer, "no-mail", name="Nobody")
    answer = sign_in("no-mail")
    assert (answer.status_code, User.objects.filter(login_type="oidc").count()) == (403, 0)
    assert "did not tell your e-mail address" in words(answer)


def test_only_some_domains_may_be_let_in(sso: Configure, issuer: str) -> None:
    sso(EMAIL_DOMAINS="corp.example,example.com")
    assert sign_in().status_code == 302
    sso(EMAIL_DOMAINS="corp.example")
    answer = sign_in()
    assert answer.status_code == 403
    assert "Use an address that ends in corp.example" in words(answer)
    oidc.set_claims(issuer, DORA, email="dora@corp.example", email_verified=False)
    assert "not verified" in words(sign_in())
    oidc.set_claims(issuer, DORA, email="dora@evil.example@corp.example", email_verified=True)
    assert sign_in().status_code == 403


def test_accounts_are_made_by_administrators_where_the_deployment_says_so(
    sso: Configure,
) -> None:
    sso(CREATE_PEOPLE="no")
    answer = sign_in()
    assert (answer.status_code, User.objects.filter(login_type="oidc").count()) == (403, 0)
    assert "There is no account for you here yet. Ask an administrator." in words(answer)
    made = create_user(username="dora", email="Dora@Example.com", password=None)
    User.objects.filter(pk=made.pk).update(login_type=LoginType.OIDC)
    assert sign_in().status_code == 302
    assert ExternalIdentity.objects.get().user == made


@pytest.mark.parametrize("login_type", [LoginType.PASSWORD, LoginType.NONE])
def test_an_account_of_another_kind_is_never_taken_over(
    sso: Configure, login_type: LoginType
) -> None:
    mine = create_user(username="dora", email="Dora@Example.com", password=None)
    User.objects.filter(pk=mine.pk).update(login_type=login_type)
    client = Client()
    answer = sign_in(client=client)
    assert answer.status_code == 403
    assert "ask an administrator to switch the account to single sign-on" in words(answer)
    assert "_auth_user_id" not in client.session
    assert not ExternalIdentity.objects.exists()


def test_an_account_that_somebody_else_at_the_provider_has_is_not_given_away(
    sso: Configure, issuer: str
) -> None:
    sign_in()
    oidc.set_claims(issuer, "dora-the-second", email="dora@example.com", email_verified=True)
    answer = sign_in("dora-the-second")
    assert answer.status_code == 403
    assert "belongs to somebody else at the identity provider" in words(answer)


def test_an_account_meant_for_single_sign_on_needs_a_verified_address(
    sso: Configure, issuer: str
) -> None:
    made = create_user(username="dora", email="dora@example.com", password=None)
    User.objects.filter(pk=made.pk).update(login_type=LoginType.OIDC)
    oidc.set_claims(issuer, DORA, email="dora@example.com")
    assert sign_in().status_code == 403
    assert not ExternalIdentity.objects.exists()


def test_suspended_people_are_told_as_they_are_by_password(sso: Configure, cast: Cast) -> None:
    sign_in()
    user = User.objects.get(username="Dora-Example")
    suspend_user(Actor(cast.root), str(user.pk))
    client = Client()
    answer = sign_in(client=client)
    assert answer.status_code == 403
    said = "Your account is suspended. Contact an administrator to reactivate it."
    assert said in words(answer)
    assert "_auth_user_id" not in client.session
    assert entries()[-1] == ("single sign-on", "login", "Dora-Example", said)


def test_deleted_people_stay_out_until_an_account_is_made_for_them(
    sso: Configure, cast: Cast
) -> None:
    sign_in()
    user = User.objects.get(username="Dora-Example")
    delete_user(Actor(cast.root), str(user.pk))
    stored = ExternalIdentity.objects.get()
    assert (stored.access_token, stored.refresh_token) == ("", "")
    answer = sign_in()
    assert (answer.status_code, User.objects.filter(email="dora@example.com").count()) == (403, 1)
    assert "Your account was deleted. Ask an administrator to make a new one" in words(answer)

    made = create_user(username="dora", email="dora@example.com", password=None)
    User.objects.filter(pk=made.pk).update(login_type=LoginType.OIDC)
    assert sign_in().status_code == 302
    assert ExternalIdentity.objects.get().user == made


# passwords


def test_people_of_the_provider_have_no_password(sso: Configure, cast: Cast) -> None:
    sign_in()
    user = User.objects.get(username="Dora-Example")
    with pytest.raises(ChatdError, match="do not sign in with a password cannot have one"):
        set_password(Actor(user), "me", lambda: NewPassword(password="a long good password"))
    user.set_password("a long good password")
    user.save()
    form = {"username": "Dora-Example", "password": "a long good password"}
    assert Client().post("/login", form).status_code == 200


def test_an_administrator_switches_how_somebody_signs_in_and_back(
    sso: Configure, cast: Cast, settings: Any
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    user = create_user(username="dora", email="dora@example.com", password="a long good password")
    root = Actor(cast.root)
    browser = Client()
    browser.force_login(user)
    assert set_login_type(root, "dora", LoginType.OIDC).login_type == LoginType.OIDC
    assert browser.get("/chats").status_code == 302
    assert sign_in(client=browser).status_code == 302
    assert User.objects.get(pk=user.pk).identities.count() == 1

    set_login_type(root, "dora", LoginType.PASSWORD)
    assert browser.get("/chats").status_code == 302
    assert not ExternalIdentity.objects.exists()
    assert sign_in().status_code == 403
    set_password(root, "dora", lambda: NewPassword(password="another good password"))
    form = {"username": "dora", "password": "another good password"}
    assert Client().post("/login", form).status_code == 302
    told = AuditEntry.objects.filter(resource_name="dora", changes__has_key="login_type")
    assert [entry.changes["login_type"]["new"] for entry in told.order_by("id")] == [
        "oidc",
        "password",
    ]


def test_a_session_of_the_provider_is_of_no_use_to_another_kind_of_account(
    sso: Configure,
) -> None:
    client = Client()
    sign_in(client=client)
    User.objects.filter(username="Dora-Example").update(login_type=LoginType.NONE)
    assert client.get("/chats").status_code == 302


def test_nobody_switches_their_own_way_in_or_that_of_somebody_above(cast: Cast) -> None:
    for actor, who, status in [(cast.root, "me", 400), (cast.alice, "root", 404)]:
        with pytest.raises(ChatdError) as refused:
            set_login_type(Actor(actor), who, LoginType.OIDC)
        assert refused.value.http_status == status


def test_passwords_can_be_left_to_site_owners(sso: Configure, cast: Cast, settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    sso(PASSWORDS="no")
    good = {"email": "", "password": "a long good password"}
    create_user(username="boss", site_roles=[SiteRole.OWNER], **good)
    create_user(username="staff", **good)
    html = Client().get("/login").content.decode()
    assert "<details" in html
    assert "Site owners can sign in with a password" in html

    def status(name: str) -> int:
        form = {"username": name, "password": good["password"]}
        return Client().post("/login", form).status_code

    assert (status("boss"), status("staff")) == (302, 200)
    body = {"email": "staff", "password": good["password"]}
    answer = Client().post("/api/v2/users/login", body, content_type="application/json")
    assert answer.status_code == 401


# groups and roles


def test_groups_and_roles_follow_the_claim_up_and_down(
    sso: Configure, issuer: str, cast: Cast
) -> None:
    sso(**GROUPS)
    sign_in()
    user = User.objects.get(username="Dora-Example")
    group = Group.objects.get(name="dev-team")
    assert (group.source, group.organization) == (GroupSource.OIDC, cast.organization)
    assert groups_of(user) == {"dev-team"}
    assert user.rbac_roles == ["owner"]
    assert ("single sign-on", "create", "dev-team", "") in entries()
    change = AuditEntry.objects.get(changes__has_key="groups")
    assert change.changes["groups"] == {"old": [], "new": ["dev-team"]}

    by_hand = create_group(Actor(cast.root), "default", lambda: GroupChanges(name="friends"))
    update_group(Actor(cast.root), by_hand.pk, lambda: GroupChanges(add_users=[str(user.pk)]))
    oidc.set_claims(issuer, DORA, email="dora@example.com", email_verified=True, groups=[])
    sign_in()
    assert groups_of(user) == {"friends"}
    assert User.objects.get(pk=user.pk).rbac_roles == []
    assert Group.objects.filter(name="dev-team").exists()


def test_roles_that_no_map_names_are_left_alone(sso: Configure, cast: Cast) -> None:
    sign_in()
    User.objects.filter(username="Dora-Example").update(rbac_roles=["auditor"])
    sso(**GROUPS)
    sign_in()
    assert User.objects.get(username="Dora-Example").rbac_roles == ["owner", "auditor"]


def test_the_last_owner_stays_one(sso: Configure, issuer: str) -> None:
    sso(**GROUPS)
    sign_in()
    oidc.set_claims(issuer, DORA, email="dora@example.com", email_verified=True)
    sign_in()
    user = User.objects.get(username="Dora-Example")
    assert user.rbac_roles == ["owner"]
    assert "last owner" in ExternalIdentity.objects.get().received_note


def test_groups_are_left_alone_unless_a_claim_is_configured(sso: Configure, cast: Cast) -> None:
    sso(**GROUPS)
    sign_in()
    user = User.objects.get(username="Dora-Example")
    sso()
    sign_in()
    assert groups_of(user) == {"dev-team"}
    assert ExternalIdentity.objects.get().received_groups is None


def test_groups_can_be_made_of_the_values(sso: Configure, cast: Cast) -> None:
    sso(**GROUPS, CREATE_GROUPS="yes")
    sign_in()
    assert groups_of(User.objects.get(username="Dora-Example")) == {
        "dev-team",
        "Everything-Else",
        "chatd-admins",
    }


def test_a_group_made_by_hand_is_not_the_providers(sso: Configure, cast: Cast) -> None:
    mine = create_group(Actor(cast.root), "default", lambda: GroupChanges(name="Dev-Team"))
    sso(**GROUPS)
    sign_in()
    assert not mine.memberships.exists()
    assert "made by hand have these names" in ExternalIdentity.objects.get().received_note


def test_who_left_the_organisation_is_in_none_of_its_groups(sso: Configure, cast: Cast) -> None:
    sso(**GROUPS)
    sign_in()
    user = User.objects.get(username="Dora-Example")
    OrganizationMember.objects.filter(user=user).delete()
    sign_in()
    assert groups_of(user) == set()
    assert "no member of" in ExternalIdentity.objects.get().received_note
    assert not OrganizationMember.objects.filter(user=user).exists()


def test_administrators_see_what_came_last_and_why_a_group_is_missing(
    sso: Configure, cast: Cast, issuer: str, client: Client
) -> None:
    sso(**GROUPS)
    sign_in()
    user = User.objects.get(username="Dora-Example")
    (identity,) = list_identities_for(cast.root, "Dora-Example")
    assert identity.received_groups == ["Developers", "Everything-Else", "chatd-admins"]
    assert "1 of the values are in no map" in identity.received_note
    client.force_login(cast.root)
    html = client.get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
    assert "groups: Developers, Everything-Else, chatd-admins" in html
    oidc.set_claims(issuer, DORA, email="dora@example.com", email_verified=True)
    sign_in()
    html = client.get(f"/admin/accounts/user/{user.pk}/change/").content.decode()
    assert "no groups. The claim &quot;groups&quot; did not come" in html
    with pytest.raises(ChatdError, match="not found"):
        list_identities_for(cast.bob, "Dora-Example")


def test_people_are_switched_in_the_administration(cast: Cast, client: Client) -> None:
    client.force_login(cast.root)
    chosen = {"_selected_action": [str(cast.alice.pk), str(cast.bob.pk)]}
    for name, login_type in [
        ("switch_to_single_sign_on", "oidc"),
        ("switch_to_password", "password"),
    ]:
        client.post("/admin/accounts/user/", {"action": name, **chosen})
        found = User.objects.filter(pk__in=chosen["_selected_action"])
        assert set(found.values_list("login_type", flat=True)) == {login_type}


def test_nobody_puts_people_into_the_providers_groups_by_hand(sso: Configure, cast: Cast) -> None:
    sso(**GROUPS)
    sign_in()
    group = Group.objects.get(name="dev-team")
    _, token = create_token(user=cast.root)
    header = {"HTTP_CODER_SESSION_TOKEN": token}

    def patch(body: dict[str, Any]) -> Any:
        path = f"/api/v2/groups/{group.pk}"
        return Client(**header).patch(path, body, content_type="application/json")

    for body in (
        {"add_users": [str(cast.alice.pk)]},
        {"remove_users": [str(User.objects.get(username="Dora-Example").pk)]},
        {"name": "other-name"},
    ):
        answer = patch(body)
        assert answer.status_code == 400, body
        assert "The identity provider decides who is in this group" in answer.json()["message"]
    assert patch({"name": "dev-team", "display_name": "Developers"}).status_code == 200
    assert groups_of(cast.alice) == set()


# tokens


def test_tokens_are_kept_encrypted_and_given_to_who_acts_for_the_person(
    sso: Configure, issuer: str
) -> None:
    sign_in()
    identity = ExternalIdentity.objects.get()
    assert secret_state(identity.access_token) is SecretState.CURRENT
    assert secret_state(identity.refresh_token) is SecretState.CURRENT
    token = oidc_token_for(identity.user)
    assert token is not None
    assert token not in identity.access_token
    assert Organization.objects.count() == 1


def test_without_an_encryption_key_people_sign_in_and_no_token_is_kept(
    sso: Configure, settings: Any
) -> None:
    settings.CHATD_ENCRYPTION_KEYS = []
    assert sign_in().status_code == 302
    identity = ExternalIdentity.objects.get()
    assert (identity.access_token, identity.refresh_token) == ("", "")
    assert oidc_token_for(identity.user) is None


# guessing


def test_failed_attempts_are_limited_and_good_ones_are_not(
    sso: Configure, issuer: str, configure: Configure, clock: Traveller
) -> None:
    configure(sign_in_rate_limit=2, single_sign_on=oidc.configured(issuer))
    assert [sign_in().status_code for _ in range(4)] == [302] * 4
    wrong = "/login/oidc/callback?state=made-up&code=made-up"
    answers = [Client().get(wrong) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [400, 400, 429]
    assert "too many attempts to sign in" in words(answers[2])
    assert Client(REMOTE_ADDR="192.0.2.1").get(wrong).status_code == 400
