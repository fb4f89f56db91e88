"""What is done with organisations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from chatd.accounts import actions
from chatd.accounts.access import tell_sockets_of
from chatd.accounts.actor import Actor
from chatd.accounts.members import check_grants
from chatd.accounts.models import Organization, OrganizationMember, OrganizationRole
from chatd.accounts.policy import OrganizationRight, SiteRight, site_rights
from chatd.accounts.selectors import get_organization_for
from chatd.accounts.validation import MAX_NAME, Findings, taken
from chatd.audit.actions import Resource, audited, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import ChatdError, forbidden

MAX_ORGANIZATION_NAME = 64
MAX_DESCRIPTION = 4096
MAX_ICON = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationChanges:
    """A request to create or change an organisation; None is "no change"."""

    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    icon: str | None = None
    default_org_member_roles: Sequence[str] | None = None


def create_organization(actor: Actor, request: Callable[[], OrganizationChanges]) -> Organization:
    """Create an organisation with its creator as a member. Raises ChatdError 400, 403, 409."""
    if SiteRight.ORGANIZATIONS not in site_rights(actor.user):
        raise forbidden(detail="You may not create organizations.")
    wanted = request()
    _check(wanted, name=wanted.name or "")
    with transaction.atomic():
        try:
            with transaction.atomic():
                made = actions.create_organization(
                    name=wanted.name or "",
                    display_name=wanted.display_name or "",
                    description=wanted.description or "",
                    icon=wanted.icon or "",
                    default_roles=wanted.default_org_member_roles,
                )
        except IntegrityError:
            raise _taken(wanted.name) from None
        OrganizationMember.objects.create(organization=made, user=actor.user)
        record(actor.author, Action.CREATE, _resource(made), after=_fields(made))
    return made


def update_organization(
    actor: Actor, named: str, request: Callable[[], OrganizationChanges]
) -> Organization:
    """Change an organisation. Raises ChatdError 400, 403, 404, 409."""
    found = get_organization_for(actor.user, named, OrganizationRight.UPDATE)
    wanted = request()
    _check(wanted, name=found.name if wanted.name is None else wanted.name)

    def lock() -> Organization:
        return Organization.objects.select_for_update(no_key=True).get(pk=found.pk)

    with audited(actor.author, _resource(found), lambda: _fields(lock())):
        organization = lock()
        before = set(organization.default_org_member_roles)
        _apply(organization, wanted)
        changed = before ^ set(organization.default_org_member_roles)
        check_grants(actor.user, organization, changed)
        try:
            with transaction.atomic():
                organization.save()
        except IntegrityError:
            raise _taken(wanted.name) from None
        if changed:
            members = OrganizationMember.objects.filter(organization=organization)
            tell_sockets_of(members.values_list("user_id", flat=True))
    return organization


def _apply(organization: Organization, wanted: OrganizationChanges) -> None:
    for field in ("name", "display_name", "description", "icon"):
        value = getattr(wanted, field)
        if value is not None:
            setattr(organization, field, value)
    if wanted.default_org_member_roles is not None:
        organization.default_org_member_roles = _ordered(wanted.default_org_member_roles)
    organization.updated_at = now()


def _ordered(roles: Sequence[str]) -> list[str]:
    return [role.value for role in OrganizationRole if role in roles]


def _check(wanted: OrganizationChanges, *, name: str) -> None:
    findings = Findings()
    findings.slug("name", name, most=MAX_ORGANIZATION_NAME)
    findings.text("display_name", wanted.display_name or "", most=MAX_NAME)
    findings.text("description", wanted.description or "", most=MAX_DESCRIPTION)
    findings.text("icon", wanted.icon or "", most=MAX_ICON)
    findings.each_of(
        "default_org_member_roles", wanted.default_org_member_roles or (), OrganizationRole.values
    )
    findings.check()


def _taken(name: str | None) -> ChatdError:
    return taken(f'An organization named "{name}" exists already.', "name")


def _resource(organization: Organization) -> Resource:
    return Resource("organization", str(organization.pk), organization.name, organization.pk)


def _fields(organization: Organization) -> dict[str, Any]:
    return {
        "name": organization.name,
        "display_name": organization.display_name,
        "description": organization.description,
        "icon": organization.icon,
        "default_org_member_roles": list(organization.default_org_member_roles),
    }
