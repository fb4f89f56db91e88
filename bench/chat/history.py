"""Fills a database with chats and messages of one person, for reads that must stay flat.

Runs inside the product's own environment; `fill` is called through its shell.
"""

from uuid import UUID

MESSAGES_A_CHAT = 50
LONG_CHAT_SHARE = 100
"""One message in so many belongs to one chat, which so grows with the history."""

LONG_CHAT_LEAST = 200
"""So that a page of it is a full one in a short history too."""

_MESSAGES = """
INSERT INTO chats_chatmessage (
    chat_id, revision, created_by, role, content, content_version, visibility, compressed, deleted,
    input_tokens, output_tokens, total_cost_micros, created_at
)
SELECT chat_id, 1, %(owner)s,
    CASE WHEN number %% 2 = 1 THEN 'user' ELSE 'assistant' END,
    '[{"type":"text","text":"Message ' || number || ' of a conversation about one thing and'
    ' another, long enough to be like what people and models write to each other."}]',
    1, 'both', false, false, 20, 40, 100,
    now() - make_interval(secs => number %% 100000)
FROM unnest(%(chats)s::uuid[]) AS chat_id, generate_series(1, %(each)s) AS number
"""

_WORDS = """
INSERT INTO chats_chatsearchentry (owner_id, chat_id, message_id, words)
SELECT %(owner)s, chat_id, id,
    (%(mark)s || ' ''@message'':2 ''number' || id %% 100000 || ''':3 ''conversation'':4')::tsvector
FROM chats_chatmessage WHERE id > %(after)s
"""


def fill(owner_id: UUID, before: int, wanted: int) -> str:
    """Add history until there are `wanted` messages; return the id of the long chat."""
    from django.db import connection
    from django.db.models import Max

    from chatd.accounts.models import OrganizationMember
    from chatd.chats.models import Chat, ChatMessage
    from chatd.providers.models import ModelConfig

    member = OrganizationMember.objects.filter(user_id=owner_id).first()
    config = ModelConfig.objects.filter(is_default=True).first() or ModelConfig.objects.first()
    assert member is not None
    assert config is not None
    common = {
        "owner_id": owner_id,
        "organization_id": member.organization_id,
        "last_model_config": config,
    }
    long_chat, _ = Chat.objects.get_or_create(title="The long chat", defaults=common)
    more = wanted - before
    in_long_chat = max(more // LONG_CHAT_SHARE, LONG_CHAT_LEAST)
    count = (more - in_long_chat) // MESSAGES_A_CHAT
    chats = Chat.objects.bulk_create(
        [Chat(title=f"Chat {number}", **common) for number in range(count)], batch_size=2000
    )
    newest = ChatMessage.objects.aggregate(Max("pk"))["pk__max"] or 0
    with connection.cursor() as cursor:
        for ids, each in (
            ([chat.pk for chat in chats], MESSAGES_A_CHAT),
            ([long_chat.pk], in_long_chat),
        ):
            cursor.execute(_MESSAGES, {"owner": owner_id, "chats": ids, "each": each})
        mark = f"'@{owner_id.hex}':1"
        cursor.execute(_WORDS, {"owner": owner_id, "mark": mark, "after": newest})
        cursor.execute("VACUUM ANALYZE")  # what autovacuum would do beside the measurement
    return str(long_chat.pk)
