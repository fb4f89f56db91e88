"""Sharing a root chat for reading, with people and groups. Sub-chats follow their root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import Group, User
from chatd.accounts.policy import READ_PERMISSIONS, ChatRight, acl_role
from chatd.accounts.selectors import live_groups, live_users, member_counts
from chatd.audit.actions import record, refusals_recorded
from chatd.audit.models import Action
from chatd.chats.audit import audited_fields, resource_of
from chatd.chats.models import Chat
from chatd.chats.selectors import chat_rights, get_chat_for
from chatd.chats.transition import lock_chat
from chatd.core.errors import Validation, bad_request, forbidden
from chatd.core.ids import canonical_uuid
from config.env import env

_ROLES = ("", "read")
_READ = {"permissions": READ_PERMISSIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class AclChanges:
    """Roles by id as clients send them; the empty role removes an entry."""

    user_roles: Mapping[str, str] = field(default_factory=dict)
    group_roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acl:
    """Who a chat is shared with, each with a role, and how many people each group has."""

    users: list[tuple[User, str]]
    groups: list[tuple[Group, str]]
    member_counts: Mapping[UUID, int]


def get_acl(actor: Actor, chat_id: UUID) -> Acl:
    """Return the ACL of a root chat the actor may read. Raises ChatdError 400, 403, 404."""
    chat = get_chat_for(actor.user, chat_id)
    _check_shareable(chat)
    user_roles, group_roles = _roles(chat.user_acl), _roles(chat.group_acl)
    users, groups = live_users(user_roles), live_groups(group_roles)
    return Acl(
        users=[(users[key], role) for key, role in user_roles.items() if key in users],
        groups=[(groups[key], role) for key, role in group_roles.items() if key in groups],
        member_counts=member_counts(groups.values()),
    )


def update_acl(actor: Actor, chat_id: UUID, request: Callable[[], AclChanges]) -> None:
    """Merge changes into the ACL of a root chat. Raises ChatdError 400, 403, 404."""
    chat = get_chat_for(actor.user, chat_id)
    with refusals_recorded(actor.author, resource_of(chat)):
        _check_shareable(chat)
        if ChatRight.SHARE not in chat_rights(actor.user, chat):
            raise forbidden(detail="You may not share this chat.")
        wanted = request()
        if actor.user.pk in {canonical_uuid(raw) for raw in wanted.user_roles}:
            raise bad_request("Cannot change your own chat sharing role.")
        wrong: list[Validation] = []
        groups = _checked(wanted.group_roles, "group", lambda ids: set(live_groups(ids)), wrong)
        users = _checked(wanted.user_roles, "user", lambda ids: set(live_users(ids)), wrong)
        if wrong:
            raise bad_request("Invalid request to update chat ACL.", validations=wrong)
        _merge(actor, chat_id, users, groups)


@transaction.atomic
def _merge(
    actor: Actor, chat_id: UUID, users: Mapping[UUID, str], groups: Mapping[UUID, str]
) -> None:
    chat = lock_chat(chat_id)
    before = audited_fields(chat)
    chat.user_acl = _merged(chat.user_acl, users)
    chat.group_acl = _merged(chat.group_acl, groups)
    chat.save(update_fields=["user_acl", "group_acl"])
    record(actor.author, Action.WRITE, resource_of(chat), before=before, after=audited_fields(chat))


def _check_shareable(chat: Chat) -> None:
    if env.sharing_disabled:
        raise forbidden("Chat sharing is disabled for this deployment.")
    if chat.root_id != chat.pk:
        raise bad_request(
            "Chat ACLs can only be set on root chats.",
            detail=f"Set the ACL of the root chat {chat.root_id} instead.",
        )


def _checked(
    roles: Mapping[str, str],
    noun: str,
    existing: Callable[[list[UUID]], set[UUID]],
    wrong: list[Validation],
) -> dict[UUID, str]:
    """Return roles by id; every violation is added to `wrong`. Removals need not exist."""
    field_name = f"{noun}_roles"
    parsed: dict[UUID, str] = {}
    for raw, role in roles.items():
        if role not in _ROLES:
            wrong.append(Validation(field_name, f'role "{role}" is not a valid chat role'))
        key = canonical_uuid(raw)
        if key is None:
            wrong.append(Validation(field_name, f"{raw} is not a valid UUID."))
        else:
            parsed[key] = role
    known = existing(list(parsed))
    for key, role in parsed.items():
        if role and key not in known:
            wrong.append(Validation(field_name, f"{noun} with ID {key} does not exist"))
    return parsed


def _merged(stored: Mapping[str, object], roles: Mapping[UUID, str]) -> dict[str, object]:
    merged = dict(stored)
    for key, role in roles.items():
        merged.pop(str(key), None)
        if role:
            merged[str(key)] = _READ
    return merged


def _roles(acl: Mapping[str, Any]) -> dict[UUID, str]:
    """Return the role of each stored entry; keys that are no ids are left out."""
    return {key: acl_role(entry) for raw, entry in acl.items() if (key := canonical_uuid(raw))}
