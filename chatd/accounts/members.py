"""Who is in an organisation, and with which roles."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction

from chatd.accounts.access import tell_sockets_of
from chatd.accounts.actor import Actor
from chatd.accounts.locks import lock_user
from chatd.accounts.models import (
    GroupMember,
    Organization,
    OrganizationMember,
    OrganizationRole,
    User,
)
from chatd.accounts.policy import (
    ALL_ROLES,
    OrganizationRight,
    membership,
    organization_grants,
)
from chatd.accounts.selectors import check_organization_right, find_user, get_organization_for
from chatd.accounts.validation import Findings
from chatd.audit.actions import Resource, audited, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import conflict, forbidden, not_found


def add_member(actor: Actor, named: str, who: str) -> OrganizationMember:
    """Make any person a member of an organisation. Raises ChatdError 403, 404, 409."""
    organization = get_organization_for(actor.user, named, OrganizationRight.MEMBERS_UPDATE)
    check_may_add(actor.user, organization)
    person = find_user(actor.user, who)
    if person is None:
        raise not_found()
    with transaction.atomic():
        # A person who is being deleted meanwhile must not be left with a membership.
        if lock_user(person.pk) is None:
            raise not_found()
        try:
            with transaction.atomic():
                member = OrganizationMember.objects.create(organization=organization, user=person)
        except IntegrityError:
            raise conflict(
                f'"{person.username}" is a member of this organization already.'
            ) from None
        record(actor.author, Action.CREATE, _resource(member), after=_fields(member))
        tell_sockets_of([person.pk])
    return member


def remove_member(actor: Actor, named: str, who: str) -> None:
    """End a membership, and those of the organisation's groups. Raises ChatdError 403, 404."""
    member = _get_member(actor, named, who)
    with _changing(actor, member, action=Action.DELETE) as row:
        check_grants(actor.user, row.organization, row.roles)
        row.delete()
        GroupMember.objects.filter(user=row.user, group__organization=row.organization).delete()


def set_member_roles(
    actor: Actor, named: str, who: str, request: Callable[[], Sequence[str]]
) -> OrganizationMember:
    """Replace the roles of a member beyond the organisation's default ones.

    Raises ChatdError 400, 403, 404.
    """
    member = _get_member(actor, named, who)
    wanted = request()
    findings = Findings()
    findings.each_of("roles", wanted, OrganizationRole.values)
    findings.check()
    with _changing(actor, member) as row:
        check_grants(actor.user, row.organization, set(row.roles) ^ set(wanted))
        row.roles = [role.value for role in OrganizationRole if role in wanted]
        row.updated_at = now()
        row.save(update_fields=["roles", "updated_at"])
    return row


def check_may_add(user: User, organization: Organization) -> None:
    """Raise the 403, or the 404, unless a user may add members to an organisation.

    Membership gives its default roles, so one must be allowed to give those.
    """
    check_organization_right(user, organization, OrganizationRight.MEMBERS_UPDATE)
    check_grants(user, organization, organization.default_org_member_roles)


def check_grants(user: User, organization: Organization, roles: Iterable[str]) -> None:
    """Raise the 403 unless a user may give and take every one of these roles there."""
    allowed = organization_grants(user, membership(user, organization.pk))
    beyond = sorted(frozenset(roles) & ALL_ROLES - allowed)
    if beyond:
        raise forbidden(detail=f"You may not give or take the roles: {', '.join(beyond)}.")


def _get_member(actor: Actor, named: str, who: str) -> OrganizationMember:
    organization = get_organization_for(actor.user, named, OrganizationRight.MEMBERS_UPDATE)
    person = find_user(actor.user, who)
    member = membership(person, organization.pk) if person else None
    if person is None or member is None:
        raise not_found()
    member.user = person
    return member


@contextmanager
def _changing(
    actor: Actor, member: OrganizationMember, *, action: Action = Action.WRITE
) -> Iterator[OrganizationMember]:
    """Lock a membership for a change, with an entry for it; then tell the person's sockets."""

    def lock() -> OrganizationMember | None:
        rows = OrganizationMember.objects.select_for_update(no_key=True, of=("self",))
        return rows.select_related("user", "organization").filter(pk=member.pk).first()

    def read() -> dict[str, Any]:
        row = lock()
        return _fields(row) if row else {}

    with audited(actor.author, _resource(member), read, action=action):
        row = lock()
        if row is None:
            raise not_found()
        yield row
        tell_sockets_of([row.user_id])


def _resource(member: OrganizationMember) -> Resource:
    return Resource(
        "organization_member", str(member.user_id), str(member.user), member.organization_id
    )


def _fields(member: OrganizationMember) -> dict[str, Any]:
    return {"user": member.user_id, "roles": list(member.roles)}
