"""Telling open sockets that somebody's access may have changed, so that they look again."""

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction

from chatd.live.backend import live_backend
from chatd.live.messages import AccessNotice


def tell_sockets_of(user_ids: Iterable[UUID]) -> None:
    """Have the sockets of these people, in every process, check their access after the commit."""
    notices = [AccessNotice(user_id) for user_id in user_ids]
    transaction.on_commit(lambda: live_backend().publish(notices))
