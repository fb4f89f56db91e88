"""The people of a list are those over whom the policy gives rights, one by one."""

import pytest

from chatd.accounts.actions import create_organization, create_user
from chatd.accounts.models import Organization, SiteRole, User
from chatd.accounts.policy import SiteRight, rights_over
from chatd.accounts.selectors import people_in_reach

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(db: None) -> list[User]:
    """People with every kind of role, held themselves or by all of an organisation."""
    led = create_organization(name="led", default_roles=["organization-admin"])
    closed = create_organization(name="closed", default_roles=["organization-admin"])
    plain = create_organization(name="plain", default_roles=[])

    def member(name: str, *roles: str, of: Organization | None = None) -> User:
        joined = [of] if of else None
        user = create_user(
            username=name, email=f"{name}@x.example", password=None, organizations=joined
        )
        user.memberships.update(roles=list(roles))
        return user

    made = [
        member("usual"),
        member("chats", "agents-access", of=plain),
        member("leads", "organization-admin"),
        member("both", "organization-auditor", "agents-access"),
        member("led", of=led),
        member("past", of=closed),
        member("nobody", of=plain),
    ]
    for role in SiteRole:
        made.append(member(role.value))
        made[-1].rbac_roles = [role.value]
        made[-1].save()
    # What is held in an organisation that is gone is held no more.
    Organization.objects.filter(pk=closed.pk).update(deleted=True)
    return made


@pytest.mark.parametrize("role", [SiteRole.OWNER, SiteRole.USER_ADMIN])
def test_the_list_holds_whom_the_policy_gives_rights_over(
    people: list[User], role: SiteRole
) -> None:
    (user,) = [person for person in people if person.rbac_roles == [role.value]]
    reach = people_in_reach(user)
    listed = {person.username for person in (User.objects.all() if reach is None else reach)}
    judged = {
        person.username for person in people if SiteRight.PERSONAL in rights_over(user, person)
    }
    assert listed == judged
    assert (reach is None) == (role is SiteRole.OWNER)
