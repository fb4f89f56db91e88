"""Files: upload, read, and the links that tie them to chats.

Linking is all or nothing per request and never fails the request: what could not be linked is
told as a warning.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import ChatRight, membership, memberships, organization_chat_rights
from chatd.chats.media import MAX_FILE_BYTES, checked_type, declared_type, file_name, too_large
from chatd.chats.models import Chat, ChatFile, ChatFileLink
from chatd.chats.selectors import readable_chats
from chatd.core.errors import forbidden, not_found

MAX_FILES_PER_CHAT = 50


def upload_file(
    actor: Actor, organization_id: UUID, *, content_type: str, disposition: str, body: bytes
) -> ChatFile:
    """Store a file of the actor. Raises ChatdError 400, 403, 413.

    `body` holds at most one byte more than is allowed, so that a larger one is recognised.
    """
    member = membership(actor.user, organization_id)
    if ChatRight.CREATE not in organization_chat_rights(actor.user, member, own=True):
        raise forbidden(detail="You may not upload files in this organization.")
    if member is None:
        raise forbidden(detail="You are not a member of this organization.")
    declared = declared_type(content_type)
    if len(body) > MAX_FILE_BYTES:
        raise too_large()
    name = file_name(disposition)
    return ChatFile.objects.create(
        owner=actor.user,
        organization=member.organization,
        name=name,
        mimetype=checked_type(declared, name, body),
        data=body,
    )


def get_file_for(user: User, file_id: UUID) -> ChatFile:
    """Return a file the user may read; its bytes are fetched when asked for. Raises the 404."""
    found = readable_files(user, [file_id]).get(file_id)
    if found is None:
        raise not_found()
    return found


def readable_files(user: User, ids: Iterable[UUID]) -> dict[UUID, ChatFile]:
    """Return those of these files the user may read, without their bytes.

    One's own by the rights on one's own chats, any by those on everybody's, and what is linked
    to a chat one may read.
    """
    found = ChatFile.objects.defer("data").in_bulk(set(ids))
    members = {member.organization_id: member for member in memberships(user)}
    readable = {
        file.pk
        for file in found.values()
        if ChatRight.READ
        in organization_chat_rights(
            user, members.get(file.organization_id), own=file.owner_id == user.pk
        )
    }
    if others := found.keys() - readable:
        linked = ChatFileLink.objects.filter(file_id__in=others, chat__in=readable_chats(user))
        readable |= set(linked.values_list("file_id", flat=True))
    return {file_id: file for file_id, file in found.items() if file_id in readable}


def file_ids_of(content: Sequence[Mapping[str, Any]]) -> list[UUID]:
    """Return the ids of the file parts of stored content, in order."""
    return [UUID(part["file_id"]) for part in content if part.get("file_id")]


def link_files(chat: Chat, content: Sequence[Mapping[str, Any]]) -> list[str]:
    """Link the files of a message to a chat, all or none; return warnings. In a transaction."""
    ids = file_ids_of(content)
    if not ids:
        return []
    linked = set(ChatFileLink.objects.filter(chat=chat).values_list("file_id", flat=True))
    new = [file_id for file_id in dict.fromkeys(ids) if file_id not in linked]
    if len(linked) + len(new) > MAX_FILES_PER_CHAT:
        return [
            f"file linking skipped: batch of {len(ids)} file(s) would exceed"
            f" limit of {MAX_FILES_PER_CHAT}"
        ]
    ChatFileLink.objects.bulk_create(
        [ChatFileLink(chat=chat, file_id=file_id) for file_id in new], ignore_conflicts=True
    )
    return []


def list_files(chat_id: UUID) -> list[ChatFile]:
    """Return the files linked to a chat, oldest first, without their bytes."""
    return list(
        ChatFile.objects.filter(links__chat_id=chat_id).defer("data").order_by("created_at", "id")
    )
