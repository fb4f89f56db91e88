"""The MCP servers that chats name: checking the ids, and forgetting a server that is deleted."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Func, JSONField, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast

from chatd.chats.models import Chat
from chatd.core.errors import ChatdError, bad_request
from chatd.mcp.selectors import hold_servers, unknown_server_ids

BATCH_ROWS = 500


def check_mcp_servers(ids: Sequence[UUID]) -> list[str]:
    """Return the ids as a chat keeps them. Raises ChatdError 400 for unknown and repeated ones.

    Disabled servers can be named; turns leave them out.
    """
    unknown, times = unknown_server_ids(set(ids)), Counter(ids)
    if wrong := [each for each in times if each in unknown or times[each] > 1]:
        raise _invalid(wrong)
    return [str(server_id) for server_id in ids]


def hold_mcp_servers(ids: Collection[str]) -> None:
    """Keep servers from being deleted until the transaction that names them ends.

    It comes before the chat is locked: a deletion locks the server first, then the chats. Raises
    ChatdError 400 for servers that were deleted meanwhile.
    """
    if gone := hold_servers([UUID(each) for each in ids]):
        raise _invalid(sorted(gone))


def forget_mcp_server(server_id: UUID) -> None:
    """Take a server out of every chat, inside the transaction that deletes it.

    Only chats that name it are read, in batches and in the order in which others lock several.
    """
    naming, last = _naming(server_id), UUID(int=0)
    while True:
        ids = list(naming.filter(pk__gt=last).select_for_update(no_key=True)[:BATCH_ROWS])
        left = _Without("mcp_server_ids", Value(str(server_id)), output_field=JSONField())
        Chat.objects.filter(pk__in=ids).update(mcp_server_ids=left)
        if len(ids) < BATCH_ROWS:
            return
        last = ids[-1]


class _Without(Func):
    """A JSON list without the entries that are equal to a text."""

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(%(expressions)s::text)"
        return super().as_sql(compiler, connection, template=template, arg_joiner=" - ", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(SELECT JSON_GROUP_ARRAY(value) FROM JSON_EACH(%(expressions)s)"
        joiner = ") WHERE value <> "
        return super().as_sql(compiler, connection, template=template, arg_joiner=joiner, **context)


def _naming(server_id: UUID) -> QuerySet[Chat, UUID]:
    """Return the ids of the chats that name a server, in order."""
    chats = Chat.objects.order_by("pk").values_list("pk", flat=True)
    if connection.vendor == "postgresql":
        # the index leaves out chats without servers, so the condition has to stand here too
        return chats.filter(~Q(mcp_server_ids=[]), mcp_server_ids__contains=[str(server_id)])
    listed = Cast("mcp_server_ids", TextField())
    return chats.alias(listed=listed).filter(listed__contains=str(server_id))


def _invalid(ids: Sequence[UUID]) -> ChatdError:
    named = ", ".join(map(str, ids))
    return bad_request("One or more MCP server IDs are invalid.", detail=f"Invalid IDs: {named}")
