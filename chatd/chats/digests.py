"""Telling people which of their chats were archived for them."""

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.chats.models import ArchiveDigest
from chatd.chats.retention import Archived

MOST_TITLES = 25


def store_digests(archived: Iterable[Archived], *, idle_days: int, retention_days: int) -> None:
    """Leave each owner one digest of their archived chats, which come the oldest first."""
    titles: dict[UUID, list[str]] = defaultdict(list)
    for each in archived:
        titles[each.owner_id].append(each.title)
    ArchiveDigest.objects.bulk_create(
        ArchiveDigest(
            owner_id=owner_id,
            titles=known[:MOST_TITLES],
            count=len(known),
            idle_days=idle_days,
            retention_days=retention_days,
        )
        for owner_id, known in titles.items()
    )


def list_digests_for(user: User) -> list[ArchiveDigest]:
    """Return what a person has not dismissed yet, the newest first."""
    return list(ArchiveDigest.objects.filter(owner=user)[:MOST_TITLES])


def dismiss_digest(actor: Actor, digest_id: int) -> None:
    """Delete a digest of the actor; one that is gone is a success."""
    ArchiveDigest.objects.filter(pk=digest_id, owner=actor.user).delete()
