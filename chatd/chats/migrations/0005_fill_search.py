"""Index the titles and messages that were there before the search was."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.db import migrations
from django.db.models import F

from chatd.chats.search import message_words, title_words

_BATCH = 500


def fill(apps: Any, schema_editor: Any) -> None:
    entries = apps.get_model("chats", "ChatSearchEntry")
    for found in (_titles(apps, entries), _messages(apps, entries)):
        while batch := list(islice(found, _BATCH)):
            entries.objects.bulk_create(batch)


def _titles(apps: Any, entries: Any) -> Iterator[Any]:
    for chat in apps.get_model("chats", "Chat").objects.iterator(chunk_size=_BATCH):
        yield entries(
            owner_id=chat.owner_id, chat_id=chat.pk, words=title_words(chat.owner_id, chat.title)
        )


def _messages(apps: Any, entries: Any) -> Iterator[Any]:
    rows = (
        apps.get_model("chats", "ChatMessage")
        .objects.filter(deleted=False, visibility__in=["user", "both"])
        .filter(role__in=["user", "assistant"])
        .annotate(owner_id=F("chat__owner_id"))
        .only("chat_id", "content")
    )
    for row in rows.iterator(chunk_size=_BATCH):
        words = message_words(row.owner_id, row.content)
        if words:
            yield entries(
                owner_id=row.owner_id, chat_id=row.chat_id, message_id=row.pk, words=words
            )


class Migration(migrations.Migration):
    dependencies = [("chats", "0004_search_index")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
