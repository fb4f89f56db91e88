"""The search index made anew of all chats: after a restore, whose backup holds none."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.apps.registry import Apps
from django.db.models import F

from chatd.chats.models import VISIBLE_TO_USER, Role
from chatd.chats.search import message_words, title_words

_BATCH = 200


def index_everything(apps: Apps) -> None:
    """Fill the empty index, by models of any state of the migrations that has one."""
    try:
        entries: Any = apps.get_model("chats", "ChatSearchEntry")
    except LookupError:  # the migration that adds it fills it, too
        return
    for found in (_titles(apps, entries), _messages(apps, entries)):
        while batch := list(islice(found, _BATCH)):
            entries.objects.bulk_create(batch)


def _titles(apps: Apps, entries: Any) -> Iterator[Any]:
    chats: Any = apps.get_model("chats", "Chat")
    for pk, owner_id, title in chats.objects.values_list("pk", "owner_id", "title").iterator():
        yield entries(owner_id=owner_id, chat_id=pk, words=title_words(owner_id, title))


def _messages(apps: Apps, entries: Any) -> Iterator[Any]:
    messages: Any = apps.get_model("chats", "ChatMessage")
    rows = (
        messages.objects.filter(deleted=False, visibility__in=VISIBLE_TO_USER)
        .filter(role__in=(Role.USER, Role.ASSISTANT))
        .annotate(owner_id=F("chat__owner_id"))
        .only("chat_id", "content")
    )
    for row in rows.iterator(chunk_size=_BATCH):
        if words := message_words(row.owner_id, row.content):
            yield entries(
                owner_id=row.owner_id, chat_id=row.chat_id, message_id=row.pk, words=words
            )
