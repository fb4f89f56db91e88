"""Who may do what with chats, as a table."""

import pytest

from chatd.accounts.models import OrganizationMember, OrganizationRole, SiteRole, User
from chatd.accounts.policy import (
    ALL_SCOPES,
    SCOPES,
    ChatRight,
    OrganizationRight,
    SiteRight,
    membership,
    organization_chat_rights,
    organization_grants,
    organization_rights,
    rights_over,
    scope_allows,
    site_rights,
)
from chatd.accounts.scope_texts import SCOPE_TEXTS, USUAL_SCOPES
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


# people and organisations


ADMIN = set(OrganizationRight)
READS = {right for right in OrganizationRight if right.endswith(":read")}
LEADS = READS | {OrganizationRight.MEMBERS_UPDATE, OrganizationRight.GROUPS_UPDATE}
NOTHING: set[OrganizationRight] = set()

# (site roles, roles of the membership, or no membership) -> rights, roles one may give
ORGANIZATIONS: list[tuple[list[str], list[str] | None, set[OrganizationRight], set[str]]] = [
    ([], None, NOTHING, set()),
    ([], [], READS, set()),
    ([], ["agents-access"], READS, set()),
    ([], ["unknown"], READS, set()),
    ([], ["organization-auditor"], READS, set()),
    ([], ["organization-admin"], ADMIN, set(OrganizationRole.values)),
    (["auditor"], None, READS, set()),
    (["auditor"], ["organization-admin"], ADMIN, set(OrganizationRole.values)),
    (["user-admin"], None, LEADS, {"agents-access"}),
    (["unknown"], None, NOTHING, set()),
    (["owner"], None, ADMIN, set(OrganizationRole.values)),
]


@pytest.mark.parametrize(("site", "roles", "rights", "grants"), ORGANIZATIONS)
def test_what_roles_allow_in_an_organisation(cast: Cast, site, roles, rights, grants):
    cast.alice.rbac_roles = site
    OrganizationMember.objects.filter(user=cast.alice).update(roles=roles or [])
    member = membership(cast.alice, cast.organization.pk) if roles is not None else None
    assert organization_rights(cast.alice, member) == rights
    assert organization_grants(cast.alice, member) == grants


SELF = {SiteRight.USERS_READ, SiteRight.USERS_UPDATE, SiteRight.PERSONAL}
SEES = {SiteRight.USERS_READ}

# (who, what the other one holds: site roles and roles in the organisation) -> rights over them
PEOPLE: list[tuple[str, list[str], list[str], set[SiteRight]]] = [
    ("owner", ["owner"], ["organization-admin"], SELF),
    ("auditor", [], [], SEES),
    ("auditor", ["owner"], [], SEES),
    ("user-admin", [], [], SELF),
    ("user-admin", [], ["agents-access"], SELF),
    ("user-admin", [], ["organization-auditor"], SEES),
    ("user-admin", [], ["organization-admin"], SEES),
    *(("user-admin", [role], [], SEES) for role in SiteRole.values),
    ("organization-admin", [], [], SEES),
    ("organization-admin", ["owner"], [], SEES),
    ("organization-auditor", [], [], set()),
    ("agents-access", [], [], set()),
]


@pytest.mark.parametrize(("who", "site", "roles", "rights"), PEOPLE)
def test_what_roles_allow_over_somebody_else(cast: Cast, who, site, roles, rights):
    alone = cast.organization.pk
    if who in SiteRole.values:
        cast.alice.rbac_roles = [who]
    else:
        OrganizationMember.objects.filter(user=cast.alice).update(roles=[who])
    cast.bob.rbac_roles = site
    OrganizationMember.objects.filter(user=cast.bob, organization=alone).update(roles=roles)
    assert rights_over(cast.alice, cast.bob) == rights


def test_one_may_read_and_change_oneself_and_no_stranger(cast: Cast):
    assert rights_over(cast.alice, cast.alice) == SELF
    assert rights_over(cast.alice, cast.bob) == set()
    OrganizationMember.objects.filter(user=cast.alice).update(roles=["organization-admin"])
    assert rights_over(cast.alice, cast.carol) == set()


# scopes


@pytest.mark.parametrize(
    ("scopes", "right", "allowed"),
    [
        ([], "chat:read", True),
        (["all"], "chat:read", True),
        (["chat:read"], "chat:read", True),
        (["chat:*"], "chat:read", True),
        (["chat:update"], "chat:read", False),
        (["user:*"], "chat:read", False),
        (["chat"], "chat:read", False),
        (["*"], "chat:read", False),
        (["chat:read"], "chat:*", False),
        (["chat:*"], "all", False),
        (["all"], "all", True),
    ],
)
def test_a_scope_allows_what_it_names(scopes, right, allowed):
    assert scope_allows(scopes, right) is allowed


def test_scopes_narrow_every_right(cast: Cast):
    cast.root.scopes = frozenset({"chat:read", "user:read", "group:read"})
    member = membership(cast.root, cast.organization.pk)
    assert organization_chat_rights(cast.root, member, own=True) == {ChatRight.READ}
    assert site_rights(cast.root) == {SiteRight.CHATS_READ, SiteRight.USERS_READ}
    assert organization_rights(cast.root, member) == {OrganizationRight.GROUPS_READ}
    assert rights_over(cast.root, cast.alice) == {SiteRight.USERS_READ}
    assert rights_over(cast.root, cast.root) == {SiteRight.USERS_READ}


def test_every_right_is_a_scope():
    rights = {*SiteRight, *OrganizationRight, *(f"chat:{right}" for right in ChatRight)}
    assert rights <= SCOPES
    assert {f"{right.split(':')[0]}:*" for right in rights} <= SCOPES


def test_every_scope_is_explained_to_who_chooses_one() -> None:
    assert set(SCOPE_TEXTS) | {ALL_SCOPES} == SCOPES
    assert set(USUAL_SCOPES) < set(SCOPE_TEXTS)
