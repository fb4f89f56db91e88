"""Telling other processes and programs that configuration has changed."""

from uuid import UUID

from django.db import transaction

from chatd.live.backend import live_backend
from chatd.live.messages import ConfigNotice


def announce_config(kind: str, entity_id: UUID) -> None:
    """After the commit, tell everybody that configuration of this kind has changed."""
    transaction.on_commit(lambda: live_backend().publish([ConfigNotice(kind, entity_id)]))
