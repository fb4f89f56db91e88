"""Full-text search of a person's chats: what is indexed, what is found, in which order.

Titles and the visible messages of people and models are indexed in the transaction that writes
them, so the index never disagrees with the rows. Every word of a search must stand in the same
title or message; words of three letters and more also find longer ones that begin with them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import connection

from chatd.accounts.models import User
from chatd.chats.filters import MAX_SEARCH_WORDS, ChatFilter, apply_filter
from chatd.chats.models import VISIBLE_TO_USER, Chat, ChatMessage, ChatSearchEntry, Found, Role
from chatd.chats.parts import searchable_text
from chatd.chats.selectors import DEFAULT_PAGE, own_roots, with_unread
from chatd.core.statements import insert
from chatd.core.words import may_be_longer, search_phrases, snippet, words_of

MAX_HITS = 1000
"""How many of the newest matching titles, and of the newest matching messages, are ranked."""

_TITLE = "@title"
_MESSAGE = "@message"


@dataclass(frozen=True, slots=True, order=True)
class _Rank:
    """How well a chat matches: by its title or not, its best score; and its best message."""

    in_title: bool
    score: float
    message_id: int = field(compare=False)


# What is indexed


def title_words(owner_id: UUID, title: str) -> list[str]:
    """Return the indexed words of a title."""
    return [_owner_mark(owner_id), _TITLE, *words_of(title)]


def message_words(owner_id: UUID, content: list[dict[str, object]] | None) -> list[str]:
    """Return the indexed words of a message; none where there is nothing to find."""
    words = words_of(searchable_text(content))
    return [_owner_mark(owner_id), _MESSAGE, *words] if words else []


def index_title(chat: Chat) -> None:
    """Index the title of a chat, in place of the one before."""
    words = title_words(chat.owner_id, chat.title)
    titles = ChatSearchEntry.objects.filter(chat=chat, message__isnull=True)
    if not titles.update(words=words):
        ChatSearchEntry.objects.create(owner_id=chat.owner_id, chat=chat, words=words)


def index_messages(chat: Chat, messages: Iterable[ChatMessage], *, title: bool = False) -> None:
    """Index new messages of a chat, and the title of a new chat with them."""
    found: dict[int | None, list[str]] = {
        message.pk: message_words(chat.owner_id, message.content)
        for message in messages
        if message.visibility in VISIBLE_TO_USER and message.role in (Role.USER, Role.ASSISTANT)
    }
    if title:
        found[None] = title_words(chat.owner_id, chat.title)
    insert(
        [
            ChatSearchEntry(owner_id=chat.owner_id, chat=chat, message_id=message_id, words=words)
            for message_id, words in found.items()
            if words
        ]
    )


def forget_messages(chat: Chat, from_message_id: int) -> None:
    """Take messages that were deleted out of the index."""
    ChatSearchEntry.objects.filter(chat=chat, message_id__gte=from_message_id).delete()


def _owner_mark(owner_id: UUID) -> str:
    """Return a word that stands in every entry of an owner and in no text.

    It lets the full-text index itself leave out what belongs to others.
    """
    return f"@{owner_id.hex}"


# What is found


def search_chats_for(
    user: User,
    *,
    wanted: ChatFilter,
    limit: int = 0,
    offset: int = 0,
    after_id: UUID | None = None,
) -> list[Chat]:
    """Return a page of the user's own root chats that have `wanted.text`, the best first.

    A sub-chat is found as its root. An `after_id` that was not found gives an empty page.
    """
    phrases = search_phrases(wanted.text)
    ranks = _ranks(user.pk, phrases)
    chats = apply_filter(with_unread(own_roots(user)), wanted)
    ordered = _ordered(ranks, dict(chats.filter(pk__in=ranks).values_list("pk", "updated_at")))
    if after_id is not None:
        ordered = ordered[ordered.index(after_id) + 1 :] if after_id in ordered else []
    page = ordered[offset : offset + (limit or DEFAULT_PAGE)]
    rows = with_unread(own_roots(user)).select_related("owner", "diff_status").in_bulk(page)
    found = [rows[key] for key in page if key in rows]
    _add_snippets(found, ranks, phrases)
    return found


def chats_titled(text: str) -> list[UUID]:
    """Return the chats, whoever owns them, with every word in their titles; the newest of many."""
    phrases = search_phrases(text)[:MAX_SEARCH_WORDS]
    if not phrases:
        return []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_TITLES_ON_POSTGRESQL, [_tsquery(phrases, _TITLE), MAX_HITS])
        else:
            cursor.execute(_TITLES_ON_SQLITE, [_fts5_query(phrases, _TITLE), MAX_HITS])
        return [key if isinstance(key, UUID) else UUID(key) for (key,) in cursor.fetchall()]


def _ordered(ranks: dict[UUID, _Rank], updated: dict[UUID, datetime]) -> list[UUID]:
    return sorted(updated, key=lambda key: (ranks[key], updated[key], key), reverse=True)


def _ranks(owner_id: UUID, phrases: Sequence[Sequence[str]]) -> dict[UUID, _Rank]:
    """Return the root chats with a matching title or message."""
    hits: dict[UUID, list[tuple[float, int]]] = {}
    for raw_id, message_id, score in _hits(owner_id, phrases):
        root_id = raw_id if isinstance(raw_id, UUID) else UUID(raw_id)
        hits.setdefault(root_id, []).append((score, message_id or 0))
    return {root_id: _rank(found) for root_id, found in hits.items()}


def _rank(hits: Sequence[tuple[float, int]]) -> _Rank:
    """Return the rank of a chat; a hit without a message is its title."""
    best = max(((score, message_id) for score, message_id in hits if message_id), default=(0, 0))
    return _Rank(
        in_title=any(not message_id for _, message_id in hits),
        score=max(hits)[0],
        message_id=best[1],
    )


# A hit is its root chat, its message (NULL for a title) and its score, newest first. The root is
# looked up row by row: for so few of them a join would read the whole table of chats.

_ROOT = "(SELECT COALESCE(root_chat_id, id) FROM chats_chat WHERE id = entry.chat_id)"
_HITS_ON_POSTGRESQL = f"""
    SELECT {_ROOT}, message_id, ts_rank(words, %s::tsquery, 1)
    FROM chats_chatsearchentry entry
    WHERE owner_id = %s AND words @@ %s::tsquery AND message_id IS {{}}
    ORDER BY id * -1 LIMIT %s
"""  # noqa: S608 - no part of it comes from outside
_HITS_ON_SQLITE = f"""
    SELECT {_ROOT}, message_id, found.score
    FROM (
        SELECT rowid, -bm25(chats_search) AS score FROM chats_search
        WHERE chats_search MATCH %s
        ORDER BY rowid DESC LIMIT %s
    ) found
    JOIN chats_chatsearchentry entry ON entry.id = found.rowid
"""  # noqa: S608

_TITLES_ON_POSTGRESQL = """
    SELECT chat_id FROM chats_chatsearchentry
    WHERE words @@ %s::tsquery AND message_id IS NULL
    ORDER BY id * -1 LIMIT %s
"""
_TITLES_ON_SQLITE = """
    SELECT chat_id FROM (
        SELECT rowid AS entry_id FROM chats_search WHERE chats_search MATCH %s
        ORDER BY rowid DESC LIMIT %s
    ) JOIN chats_chatsearchentry ON id = entry_id
"""


def _hits(
    owner_id: UUID, phrases: Sequence[Sequence[str]]
) -> list[tuple[UUID | str, int | None, float]]:
    """Return the newest matching titles and the newest matching messages."""
    mine, found = _owner_mark(owner_id), []
    with connection.cursor() as cursor:
        for of_titles in (True, False):
            if connection.vendor == "postgresql":
                terms = _tsquery(phrases), owner_id, _tsquery(phrases, mine), MAX_HITS
                cursor.execute(
                    _HITS_ON_POSTGRESQL.format("NULL" if of_titles else "NOT NULL"), terms
                )
            else:
                kind = _TITLE if of_titles else _MESSAGE
                cursor.execute(_HITS_ON_SQLITE, [_fts5_query(phrases, mine, kind), MAX_HITS])
            found += cursor.fetchall()
    return found


def _tsquery(phrases: Sequence[Sequence[str]], *marks: str) -> str:
    def one(phrase: Sequence[str]) -> str:
        words = " <-> ".join(f"'{word}'" for word in phrase)
        return f"({words}:*)" if may_be_longer(phrase[-1]) else f"({words})"

    return " & ".join([f"'{mark}'" for mark in marks] + [one(phrase) for phrase in phrases])


def _fts5_query(phrases: Sequence[Sequence[str]], *marks: str) -> str:
    def one(phrase: Sequence[str]) -> str:
        words = f'"{" ".join(phrase)}"'
        return f"{words} *" if may_be_longer(phrase[-1]) else words

    return " AND ".join([f'"{mark}"' for mark in marks] + [one(phrase) for phrase in phrases])


def _add_snippets(
    chats: Sequence[Chat], ranks: dict[UUID, _Rank], phrases: Sequence[Sequence[str]]
) -> None:
    """Add the stretch of text that was found: of the best message, else of the title."""
    ids = [ranks[chat.pk].message_id for chat in chats]
    contents = dict(ChatMessage.objects.filter(pk__in=ids).values_list("pk", "content"))
    for chat in chats:
        message_id = ranks[chat.pk].message_id
        text = searchable_text(contents[message_id]) if message_id in contents else chat.title
        chat.found = Found(snippet(text, phrases), message_id or None)
