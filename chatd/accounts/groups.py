"""What is done with groups. Everyone, whose id is the organisation's, is no one's to change."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from chatd.accounts.access import tell_sockets_of
from chatd.accounts.actor import Actor
from chatd.accounts.locks import lock_group
from chatd.accounts.models import Group, GroupMember, GroupSource, OrganizationMember
from chatd.accounts.policy import OrganizationRight
from chatd.accounts.selectors import get_group_for, get_organization_for
from chatd.accounts.validation import MAX_NAME, MAX_URL, Findings, taken
from chatd.audit.actions import Resource, audited, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import ChatdError, Validation, bad_request, not_found
from chatd.core.ids import canonical_uuid

MAX_GROUP_NAME = 36
EVERYONE = "everyone"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChanges:
    """A request to create or change a group; None is "no change". People are named by id."""

    name: str | None = None
    display_name: str | None = None
    avatar_url: str | None = None
    add_users: Sequence[str] = ()
    remove_users: Sequence[str] = ()


def create_group(actor: Actor, named: str, request: Callable[[], GroupChanges]) -> Group:
    """Create an empty group in an organisation. Raises ChatdError 400, 403, 404, 409."""
    organization = get_organization_for(actor.user, named, OrganizationRight.GROUPS_UPDATE)
    wanted = request()
    _check(wanted, name=wanted.name or "")
    group = Group(organization=organization)
    _apply(group, wanted)
    with transaction.atomic():
        _save(group, force_insert=True)
        record(actor.author, Action.CREATE, group_resource(group), after=group_fields(group))
    return group


def update_group(actor: Actor, group_id: UUID, request: Callable[[], GroupChanges]) -> Group:
    """Change a group and who is in it, all or nothing. Raises ChatdError 400, 403, 404, 409."""
    found = _get_changeable(actor, group_id)
    wanted = request()
    _check(wanted, name=found.name if wanted.name is None else wanted.name)
    with _changing(actor, found) as group:
        _check_source(group, wanted)
        added = _members(group, wanted.add_users, "add_users")
        removed = _ids(wanted.remove_users, "remove_users")
        _apply(group, wanted)
        _save(group)
        GroupMember.objects.bulk_create(
            [GroupMember(group=group, user_id=user_id) for user_id in added], ignore_conflicts=True
        )
        GroupMember.objects.filter(group=group, user__in=removed).delete()
        tell_sockets_of(removed)
    return group


def delete_group(actor: Actor, group_id: UUID) -> None:
    """Delete a group; what was shared with it is shared no more. Raises ChatdError 400-404."""
    found = _get_changeable(actor, group_id)
    with _changing(actor, found, action=Action.DELETE) as group:
        members = list(group.memberships.values_list("user_id", flat=True))
        group.delete()
        tell_sockets_of(members)


def _get_changeable(actor: Actor, group_id: UUID) -> Group:
    group = get_group_for(actor.user, group_id, OrganizationRight.GROUPS_UPDATE)
    if group.is_everyone:
        raise bad_request("The Everyone group cannot be changed.")
    return group


def _check_source(group: Group, wanted: GroupChanges) -> None:
    """Refuse what the identity provider decides: the next sign-in would undo it."""
    renamed = wanted.name is not None and wanted.name != group.name
    if group.source == GroupSource.OIDC and (wanted.add_users or wanted.remove_users or renamed):
        raise bad_request(
            "The identity provider decides who is in this group, and finds it by its name.",
            detail="Change the person's groups there; it counts from their next sign-in on."
            " Its display name and avatar can be changed here.",
        )


@contextmanager
def _changing(actor: Actor, found: Group, *, action: Action = Action.WRITE) -> Iterator[Group]:
    """Lock a group for a change, with an entry for it."""

    def read() -> dict[str, Any]:
        group = lock_group(found.pk)
        return group_fields(group) if group else {}

    with audited(actor.author, group_resource(found), read, action=action):
        group = lock_group(found.pk)
        if group is None:
            raise not_found()
        yield group


def _apply(group: Group, wanted: GroupChanges) -> None:
    for field in ("name", "display_name", "avatar_url"):
        value = getattr(wanted, field)
        if value is not None:
            setattr(group, field, value)
    group.updated_at = now()


def _save(group: Group, *, force_insert: bool = False) -> None:
    try:
        with transaction.atomic():
            group.save(force_insert=force_insert)
    except IntegrityError:
        raise _taken(group) from None


def _taken(group: Group) -> ChatdError:
    return taken(f'A group named "{group.name}" exists already in this organization.', "name")


def _check(wanted: GroupChanges, *, name: str) -> None:
    findings = Findings()
    findings.slug("name", name, most=MAX_GROUP_NAME, reserved={EVERYONE})
    findings.text("display_name", wanted.display_name or "", most=MAX_NAME)
    findings.text("avatar_url", wanted.avatar_url or "", most=MAX_URL)
    findings.check()


def _members(group: Group, raw: Iterable[str], field: str) -> list[UUID]:
    """Return the ids of members of the group's organisation, who stay such until the commit."""
    ids = _ids(raw, field)
    members = OrganizationMember.objects.select_for_update(no_key=True).filter(
        organization=group.organization_id, user__in=ids
    )
    joined = {member.user_id for member in members.order_by("pk")}
    wrong = [
        Validation(field, f"{user_id} is not a member of the organization.")
        for user_id in ids
        if user_id not in joined
    ]
    if wrong:
        raise bad_request(
            "Only members of the organization can be in its groups.", validations=wrong
        )
    return ids


def _ids(raw: Iterable[str], field: str) -> list[UUID]:
    ids = {text: canonical_uuid(text) for text in raw}
    findings = Findings()
    for text, user_id in ids.items():
        if user_id is None:
            findings.add(field, "uuid", text[:64], "must be the id of a person.")
    findings.check()
    return [user_id for user_id in dict.fromkeys(ids.values()) if user_id is not None]


def group_resource(group: Group) -> Resource:
    return Resource("group", str(group.pk), group.name, group.organization_id)


def group_fields(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "display_name": group.display_name,
        "avatar_url": group.avatar_url,
        "members": set(group.memberships.values_list("user_id", flat=True)),
    }
