"""Who may do what with chats, as a table."""

import pytest

from chatd.accounts.models import OrganizationMember, OrganizationRole, SiteRole, User
from chatd.accounts.policy import (
    ChatRight,
    SiteRight,
    membership,
    organization_chat_rights,
    site_rights,
)
from tests.conftest import Cast

ALL = set(ChatRight)
NONE: set[ChatRight] = set()

# (site roles, roles of the membership, default roles, one's own chat) -> rights
MATRIX = [
    ([], [], ["agents-access"], True, ALL),
    ([], [], ["agents-access"], False, NONE),
    ([], ["agents-access"], [], True, ALL),
    ([], ["agents-access"], [], False, NONE),
    ([], [], [], True, NONE),
    ([], [], [], False, NONE),
    ([], ["organization-admin"], [], True, ALL),
    ([], ["organization-admin"], [], False, ALL),
    ([], ["organization-auditor"], [], True, NONE),
    ([], ["organization-auditor"], [], False, NONE),
    ([], ["unknown"], ["unknown"], True, NONE),
    (["owner"], [], [], True, ALL),
    (["owner"], [], [], False, ALL),
    (["auditor"], [], [], True, NONE),
    (["user-admin"], [], [], False, NONE),
]


@pytest.mark.parametrize(("site", "roles", "defaults", "own", "rights"), MATRIX)
def test_the_rights_of_roles(cast: Cast, site, roles, defaults, own, rights):
    cast.alice.rbac_roles = site
    cast.organization.default_org_member_roles = defaults
    cast.organization.save()
    OrganizationMember.objects.filter(user=cast.alice).update(roles=roles)
    member = membership(cast.alice, cast.organization.pk)
    assert set(organization_chat_rights(cast.alice, member, own=own)) == rights


@pytest.mark.parametrize("own", [True, False])
def test_without_a_membership_only_site_owners_have_rights(cast: Cast, own):
    assert membership(cast.carol, cast.organization.pk) is None
    assert organization_chat_rights(cast.carol, None, own=own) == NONE
    assert organization_chat_rights(cast.root, None, own=own) == ALL


def test_a_deleted_organisation_has_no_members(cast: Cast):
    cast.organization.deleted = True
    cast.organization.save()
    assert membership(cast.alice, cast.organization.pk) is None


def test_every_role_stands_in_the_table():
    shown = {role for _, roles, defaults, _, _ in MATRIX for role in [*roles, *defaults]}
    assert {role.value for role in OrganizationRole} <= shown
    assert {role.value for role in SiteRole} == {role for row in MATRIX for role in row[0]}


# the deployment


@pytest.mark.parametrize(
    ("roles", "rights"),
    [
        ([], set()),
        (["nonsense"], set()),
        (["auditor"], {"deployment_config:read", "user:read", "audit_log:read"}),
        (["user-admin"], {"user:read", "user:update", "user:personal"}),
        (
            ["auditor", "user-admin"],
            {
                "deployment_config:read",
                "audit_log:read",
                "user:read",
                "user:update",
                "user:personal",
            },
        ),
        (["owner"], {right.value for right in SiteRight}),
    ],
)
def test_site_roles_add_up(roles: list[str], rights: set[str]) -> None:
    assert site_rights(User(rbac_roles=roles)) == rights
