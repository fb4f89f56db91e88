"""The books of one person, read from outside of the product: while it works, and in the end."""

import json
import threading
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

_TOTALS = """
SELECT
  (SELECT coalesce(sum(micros), 0) FROM spending_spendday WHERE owner_id = %(owner)s)::bigint
    AS spent,
  (SELECT coalesce(sum(micros), 0) FROM spending_openhold WHERE owner_id = %(owner)s)::bigint
    AS open,
  coalesce(sum(settled_micros), 0)::bigint AS settled,
  coalesce(sum(held_micros), 0)::bigint AS held,
  count(*) AS entries
FROM spending_ledgerentry WHERE owner_id = %(owner)s
"""
"""One statement is one snapshot: a call that ends meanwhile is in one of the sums."""

_CALLS_NOT_EVEN = """
SELECT call_id, sum(held_micros)::bigint AS held FROM spending_ledgerentry
WHERE owner_id = %(owner)s GROUP BY call_id HAVING sum(held_micros) <> 0
"""

_SETTLED_BEYOND_HOLDS = """
SELECT settle.call_id, settle.settled_micros, hold.held_micros
FROM spending_ledgerentry settle
LEFT JOIN spending_ledgerentry hold ON hold.call_id = settle.call_id AND hold.kind = 'hold'
WHERE settle.owner_id = %(owner)s AND settle.kind = 'settle'
  AND (hold.id IS NULL OR settle.settled_micros > hold.held_micros)
"""

_MESSAGES_AND_SETTLES_APART = """
SELECT message.id, message.total_cost_micros, settle.settled_micros
FROM (
  SELECT id, total_cost_micros FROM chats_chatmessage
  WHERE total_cost_micros IS NOT NULL
    AND chat_id IN (SELECT id FROM chats_chat WHERE owner_id = %(owner)s)
) message
FULL JOIN (
  SELECT message_id, settled_micros FROM spending_ledgerentry
  WHERE owner_id = %(owner)s AND kind = 'settle'
) settle ON settle.message_id = message.id
WHERE message.total_cost_micros IS DISTINCT FROM settle.settled_micros
"""

_CHATS = """
SELECT chat.id::text, chat.status, chat.last_error,
  (SELECT coalesce(sum(entry.settled_micros), 0)::bigint FROM spending_ledgerentry entry
   WHERE entry.owner_id = %(owner)s AND entry.created_at <= chat.updated_at) AS spent_by_then
FROM chats_chat chat WHERE chat.owner_id = %(owner)s
"""

_MESSAGES = """
SELECT chat_id::text, role, content FROM chats_chatmessage
WHERE chat_id IN (SELECT id FROM chats_chat WHERE owner_id = %(owner)s)
  AND NOT deleted AND visibility <> 'model' ORDER BY id
"""


_PAUSE = 0.005
"""Between two reads: the processors are shared with those that are watched."""


class Books:
    """What the database says of one person."""

    def __init__(self, database_url: str, owner_id: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)
        self._about = {"owner": owner_id}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _rows(self, statement: str) -> list[Row]:
        return self._connection.execute(statement, self._about).fetchall()

    def totals(self) -> Row:
        [row] = self._rows(_TOTALS)
        return row

    def chats(self) -> list[Row]:
        """Return the chats; `spent_by_then` is what was settled when each changed last."""
        return self._rows(_CHATS)

    def count_busy(self) -> int:
        """Return how many chats have a turn under way, or waiting for a worker."""
        busy = "status NOT IN ('waiting', 'error')"
        [row] = self._rows(
            f"SELECT count(*) AS busy FROM chats_chat WHERE owner_id = %(owner)s AND {busy}"
        )
        return int(row["busy"])

    def messages(self) -> dict[str, list[Row]]:
        """Return the messages that people see, by chat."""
        found: dict[str, list[Row]] = {}
        for row in self._rows(_MESSAGES):
            content = json.loads(row["content"]) if row["content"] else []
            found.setdefault(row["chat_id"], []).append({**row, "content": content})
        return found

    def settles(self) -> list[Row]:
        return self._rows(
            "SELECT settled_micros, is_estimated FROM spending_ledgerentry"
            " WHERE owner_id = %(owner)s AND kind = 'settle'"
        )

    def check_even(self) -> None:
        """Check that nothing is held, and that all that stores a cost says the same."""
        totals = self.totals()
        assert (totals["open"], totals["held"]) == (0, 0), totals
        assert totals["settled"] == totals["spent"], totals
        for broken in (_CALLS_NOT_EVEN, _SETTLED_BEYOND_HOLDS, _MESSAGES_AND_SETTLES_APART):
            found = self._rows(broken)
            assert not found, (broken, found)


class Watcher:
    """Reads the totals again and again, on a thread, until it is left.

    The first read that breaks the law is kept in `broken`.
    """

    def __init__(self, database_url: str, owner_id: str, limit_micros: int) -> None:
        self._source = (database_url, owner_id)
        self._limit = limit_micros
        self._left = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.broken: Row | None = None
        self.reads = 0
        self.most = 0
        """The most that was spent and held together."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        self._thread.join()
        if exc is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with Books(*self._source) as books:
                while self.broken is None and not self._left.wait(_PAUSE):
                    self._take(books.totals())
        except BaseException as error:  # handed to whoever leaves
            self._failure = error

    def _take(self, totals: Row) -> None:
        self.reads += 1
        together = totals["spent"] + totals["open"]
        self.most = max(self.most, together)
        is_lawful = (
            together <= self._limit
            and totals["spent"] == totals["settled"]
            and totals["open"] == totals["held"]
        )
        if not is_lawful:
            self.broken = totals
