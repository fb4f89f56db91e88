"""Two people change people at once: the second decides on what the first has left."""

from collections.abc import Callable
from typing import Any

import pytest

from chatd.accounts import actions, api_keys, groups, members, users
from chatd.accounts.actor import Actor
from chatd.accounts.api_keys import NewToken, create_own_token
from chatd.accounts.groups import GroupChanges, update_group
from chatd.accounts.members import add_member, remove_member
from chatd.accounts.models import (
    APIKey,
    ExternalIdentity,
    Group,
    GroupMember,
    OrganizationMember,
    SiteRole,
    User,
    UserStatus,
)
from chatd.accounts.oidc import people
from chatd.accounts.users import (
    NewUser,
    create_person,
    delete_user,
    set_login_type,
    set_site_roles,
    suspend_user,
)
from chatd.audit.models import AuditEntry
from chatd.core.errors import ChatdError
from config.env import SingleSignOn
from tests.chats.interleaving import Overlap
from tests.conftest import Cast
from tests.support.oidc import configured

pytestmark = pytest.mark.django_db(transaction=True)

End = Callable[[Actor, str], Any]


def overlap(monkeypatch: pytest.MonkeyPatch, module: Any, lock: str) -> Overlap:
    """Have the first transaction stop after it called `lock` of `module`."""
    made = Overlap(monkeypatch)
    monkeypatch.setattr(module, lock, made.holding(getattr(module, lock)))
    return made


def demote(actor: Actor, who: str) -> None:
    set_site_roles(actor, who, list)


ENDS: list[End] = [demote, suspend_user, delete_user]


def refusal(outcome: Any) -> int:
    assert isinstance(outcome, ChatdError), outcome
    return outcome.http_status


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
def test_two_owners_who_end_each_other_leave_one(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, first: End, second: End
) -> None:
    heir = actions.create_user(
        username="heir", email="", password=None, site_roles=[SiteRole.OWNER]
    )
    done, refused = overlap(monkeypatch, users, "lock_person").run(
        lambda: first(Actor(cast.root), "heir"),
        lambda: second(Actor(heir), "root"),
    )
    assert not isinstance(done, Exception)
    assert refusal(refused) == 400
    left = [user for user in User.objects.live() if user.is_owner and user.is_active]
    assert [user.username for user in left] == ["root"]
    assert list(AuditEntry.objects.exclude(refused="").values_list("actor_name", flat=True)) == [
        "heir"
    ]


def test_an_owner_may_be_ended_while_another_one_is_made(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, done = overlap(monkeypatch, users, "lock_person").run(
        lambda: set_site_roles(Actor(cast.root), "alice", lambda: ["owner"]),
        lambda: demote(Actor(cast.root), "root"),
    )
    assert not isinstance(made, Exception)
    assert not isinstance(done, Exception)
    assert [user.username for user in User.objects.all() if user.is_owner] == ["alice"]


def test_of_two_who_delete_a_person_the_second_finds_nobody(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, refused = overlap(monkeypatch, users, "lock_person").run(
        lambda: delete_user(Actor(cast.root), "alice"),
        lambda: suspend_user(Actor(cast.root), "alice"),
    )
    assert refusal(refused) == 404
    assert User.objects.get(pk=cast.alice.pk).status == UserStatus.ACTIVE


@pytest.mark.parametrize("taken", ["username", "email"])
def test_a_name_is_given_once(cast: Cast, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    def make(number: int) -> Callable[[], Any]:
        fields = {"username": f"dora{number}", "email": f"d{number}@x.example"}
        fields[taken] = "dora" if taken == "username" else "dora@x.example"
        return lambda: create_person(Actor(cast.root), lambda: NewUser(**fields, login_type="none"))

    made, refused = overlap(monkeypatch, users, "store_user").run(make(1), make(2))
    assert isinstance(made, User)
    assert refusal(refused) == 409
    assert [entry.field for entry in refused.validations] == [taken]
    assert User.objects.filter(**{f"{taken}__startswith": "dora"}).count() == 1
    assert AuditEntry.objects.count() == 1


def test_a_member_is_added_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    made, refused = overlap(monkeypatch, members, "record").run(
        *[lambda: add_member(Actor(cast.root), "default", "carol")] * 2
    )
    assert isinstance(made, OrganizationMember)
    assert refusal(refused) == 409
    assert OrganizationMember.objects.filter(user=cast.carol).count() == 2


def test_who_is_deleted_meanwhile_becomes_no_member(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, refused = overlap(monkeypatch, users, "lock_person").run(
        lambda: delete_user(Actor(cast.root), "carol"),
        lambda: add_member(Actor(cast.root), "default", "carol"),
    )
    assert refusal(refused) == 404
    assert not OrganizationMember.objects.filter(user=cast.carol).exists()


def test_a_token_name_is_given_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    made, refused = overlap(monkeypatch, api_keys, "create_token").run(
        *[lambda: create_own_token(Actor(cast.alice), "me", lambda: NewToken(name="ci"))] * 2
    )
    assert isinstance(made, str)
    assert refusal(refused) == 409
    assert APIKey.objects.filter(user=cast.alice).count() == 1


def fill(cast: Cast, group: Group) -> Callable[[], Any]:
    wanted = GroupChanges(add_users=[str(cast.alice.pk)])
    return lambda: update_group(Actor(cast.root), group.pk, lambda: wanted)


def test_who_leaves_while_they_are_put_into_a_group_is_in_none(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group.objects.create(organization=cast.organization, name="readers")
    filled, left = overlap(monkeypatch, groups, "_members").run(
        fill(cast, group), lambda: remove_member(Actor(cast.root), "default", "alice")
    )
    assert not isinstance(filled, Exception)
    assert left is None
    assert not GroupMember.objects.exists()


def test_who_has_left_is_put_into_no_group(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group.objects.create(organization=cast.organization, name="readers")
    _, refused = overlap(monkeypatch, members, "check_grants").run(
        lambda: remove_member(Actor(cast.root), "default", "alice"), fill(cast, group)
    )
    assert refusal(refused) == 400
    assert not GroupMember.objects.exists()


CLAIMS = {
    "sub": "dora-at-the-provider",
    "email": "dora@example.com",
    "email_verified": True,
    "preferred_username": "dora",
    "groups": ["dev-team"],
}


@pytest.fixture
def provider() -> SingleSignOn:
    return configured("https://id.example", GROUPS_CLAIM="groups", CREATE_GROUPS="yes")


def test_the_first_sign_in_from_two_tabs_makes_one_person(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, provider: SingleSignOn
) -> None:
    first, second = overlap(monkeypatch, people, "store_user").run(
        lambda: people.sign_in_claimed(provider, CLAIMS, {}),
        lambda: people.sign_in_claimed(provider, CLAIMS, {}),
    )
    assert first.pk == second.pk
    assert User.objects.filter(login_type="oidc").count() == 1
    assert ExternalIdentity.objects.get().user == first
    assert AuditEntry.objects.filter(action="create", resource_type="user").count() == 1


def test_two_people_who_want_one_name_and_one_new_group_both_get_in(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, provider: SingleSignOn
) -> None:
    other = CLAIMS | {"sub": "other-dora", "email": "dora@other.example"}
    first, second = overlap(monkeypatch, people, "sync_groups").run(
        lambda: people.sign_in_claimed(provider, CLAIMS, {}),
        lambda: people.sign_in_claimed(provider, other, {}),
    )
    assert sorted([first.username, second.username]) == ["dora", "dora-2"]
    assert set(Group.objects.get(name="dev-team").memberships.values_list("user", flat=True)) == {
        first.pk,
        second.pk,
    }
    assert AuditEntry.objects.filter(action="create", resource_type="group").count() == 1


def test_who_is_suspended_meanwhile_does_not_get_in(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, provider: SingleSignOn
) -> None:
    known = people.sign_in_claimed(provider, CLAIMS, {})
    _, refused = overlap(monkeypatch, users, "lock_person").run(
        lambda: suspend_user(Actor(cast.root), str(known.pk)),
        lambda: people.sign_in_claimed(provider, CLAIMS, {}),
    )
    assert refusal(refused) == 403


def test_who_is_switched_to_a_password_meanwhile_does_not_get_in(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, provider: SingleSignOn
) -> None:
    known = people.sign_in_claimed(provider, CLAIMS, {})
    _, refused = overlap(monkeypatch, users, "lock_person").run(
        lambda: set_login_type(Actor(cast.root), str(known.pk), "password"),
        lambda: people.sign_in_claimed(provider, CLAIMS, {}),
    )
    assert refusal(refused) == 403
    assert not ExternalIdentity.objects.exists()
