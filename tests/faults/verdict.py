"""What a fault cost: lost, doubled, stuck, unclean; read from the database and the followers."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.faults.load import Load, Work
from tests.faults.provider import FaultProvider
from tests.support.client import text_of, tool_calls_of

Row = dict[str, Any]


@dataclass
class Verdict:
    """What was found wrong, each in words."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    unclean: list[str] = field(default_factory=list)
    money: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not any((self.lost, self.doubled, self.stuck, self.unclean, self.money))

    def counts(self) -> list[int]:
        """Return lost, doubled, stuck, unclean, money."""
        found = (self.lost, self.doubled, self.stuck, self.unclean, self.money)
        return [len(each) for each in found]

    def __str__(self) -> str:
        return (
            f"lost {len(self.lost)}, doubled {len(self.doubled)}, stuck {len(self.stuck)},"
            f" unclean {len(self.unclean)}, money {len(self.money)}"
        )

    def in_words(self, most: int = 6) -> str:
        lines = [str(self)]
        for name in ("lost", "doubled", "stuck", "unclean", "money"):
            lines += [f"  {name}: {each}" for each in getattr(self, name)[:most]]
        return "\n".join(lines)


class Inspector:
    """Reads what the database holds of the chats of a load."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def rows(self, statement: str, *values: Any) -> list[Row]:
        with psycopg.connect(self._url, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(statement, values).fetchall()

    def messages(self, chat_ids: list[str]) -> dict[str, list[Row]]:
        """Return all messages by chat, deleted ones too, oldest first."""
        found: dict[str, list[Row]] = {chat_id: [] for chat_id in chat_ids}
        for row in self.rows(
            "SELECT id, chat_id::text, role, content, deleted FROM chats_chatmessage"
            " WHERE chat_id = ANY(%s::uuid[]) AND visibility <> 'model' ORDER BY id",
            chat_ids,
        ):
            content = json.loads(row["content"]) if row["content"] else []
            found[row["chat_id"]].append({**row, "content": content})
        return found

    def chats(self, chat_ids: list[str]) -> dict[str, Row]:
        rows = self.rows(
            "SELECT id::text, status, last_error, (SELECT count(*) FROM chats_chatqueuedmessage q"
            " WHERE q.chat_id = c.id) AS queued FROM chats_chat c WHERE id = ANY(%s::uuid[])",
            chat_ids,
        )
        return {row["id"]: row for row in rows}


def judge(
    load: Load, inspector: Inspector, provider: FaultProvider, booked: Counter[str]
) -> Verdict:
    """Return what was wrong after a load has ended; followers are given time to catch up."""
    found = Verdict(unclean=[*load.counts.unclean])
    works = [work for work in load.works if work.id]
    found.stuck += [work.failure for work in load.works if work.failure]
    ids = [work.id for work in works]
    messages, chats = inspector.messages(ids), inspector.chats(ids)
    for work in works:
        judge_chat(found, work, chats.get(work.id), messages[work.id], provider)
    found.doubled += [
        f"{name} was booked {times} times" for name, times in booked.items() if times > 1
    ]
    found.unclean += [f"{name} was asked without its tools" for name in provider.unequipped]
    _judge_followers(found, load, messages)
    _judge_money(found, inspector)
    return found


def judge_chat(
    found: Verdict, work: Work, chat: Row | None, rows: list[Row], provider: FaultProvider
) -> None:
    if chat is None:
        found.lost.append(f"chat {work.id}")
        return
    if chat["status"] != "waiting" and not work.failure:
        found.stuck.append(f"{work.kind} {work.id} is {chat['status']}: {chat['last_error']}")
    if chat["queued"]:
        found.lost.append(f"{chat['queued']} queued messages of {work.kind} {work.id}")
    stored = Counter(text_of(row) for row in rows if row["role"] == "user")
    found.lost += [f"message {text}" for text in work.promised if not stored[text]]
    found.doubled += [f"message {text}" for text, times in stored.items() if times > 1]
    answers = Counter(text_of(row) for row in rows if row["role"] == "assistant")
    found.doubled += [f"answer {text}" for text, times in answers.items() if text and times > 1]
    visible = [row for row in rows if not row["deleted"]]
    for name, turn in _turns(visible):
        _judge_turn(found, work, name, turn, provider)


def _turns(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Return user messages with what follows each."""
    numbered, number = [], 0
    for row in rows:
        number += row["role"] == "user"
        numbered.append((number, row))
    grouped = [[row for _, row in turn] for _, turn in groupby(numbered, lambda each: each[0])]
    return [(text_of(turn[0]), turn[1:]) for turn in grouped]


def _judge_turn(
    found: Verdict, work: Work, name: str, turn: list[Row], provider: FaultProvider
) -> None:
    asking = [row for row in turn if row["role"] == "assistant" and tool_calls_of(row)]
    final = [row for row in turn if row["role"] == "assistant" and not tool_calls_of(row)]
    results = [part for row in turn if row["role"] == "tool" for part in row["content"]]
    called = [call_id for row in asking for call_id, _, _ in tool_calls_of(row)]
    if sorted(part["tool_call_id"] for part in results) != sorted(called):
        found.lost.append(f"results of tools of {name}: {len(results)} of {len(called)}")
    if len(final) > 1 or len(asking) > 1:
        found.doubled.append(f"{len(final)} answers and {len(asking)} steps of {name}")
    given = provider.given.get(name, set())
    if any(not any(whole.startswith(text_of(row)) for whole in given) for row in final):
        found.unclean.append(f"{name} was answered {[text_of(row) for row in final]}")
    if work.is_strict and not work.failure and not any(text_of(row) in given for row in final):
        found.lost.append(f"the answer of {name}: {[text_of(row)[-60:] for row in final]}")


def _judge_followers(found: Verdict, load: Load, messages: dict[str, list[Row]]) -> None:
    for reader in load.readers:
        rows = messages.get(reader.chat_id, [])
        there = {row["id"] for row in rows}
        gone = reader.seen.keys() - there
        if gone:
            found.lost.append(f"{len(gone)} messages that were shown in {reader.chat_id}")
        found.unclean += reader.unclean
    waited = time.monotonic() + 20
    behind = dict.fromkeys(load.readers, "")
    while behind and time.monotonic() < waited:
        behind = {
            reader: why for reader in behind if (why := _behind(reader, messages[reader.chat_id]))
        }
        time.sleep(0.05)
    failed = {work.id for work in load.works if work.failure}
    found.stuck += [
        f"follower of {reader.chat_id}: {why}"
        for reader, why in behind.items()
        if reader.chat_id not in failed
    ]


def _behind(reader: Any, rows: list[Row]) -> str:
    """Return how what a follower shows differs from what is stored, blank when it does not."""
    stored = {row["id"]: text_of(row) for row in rows if not row["deleted"]}
    shown = {id_: text_of(message) for id_, message in dict(reader.messages).items()}
    if shown != stored:
        return f"shows {sorted(shown)[-6:]}, stored are {sorted(stored)[-6:]}"
    if reader.status != "waiting":
        return f"shows {reader.status}"
    return f"shows a queue of {len(reader.queue)}" if reader.queue else ""


def _judge_money(found: Verdict, inspector: Inspector) -> None:
    """Everything rests, so nothing may be held: the sweep needs a moment for what was lost."""
    deadline = time.monotonic() + 15
    held = inspector.rows("SELECT chat_id::text, micros FROM spending_openhold")
    while held and time.monotonic() < deadline:
        time.sleep(0.2)
        held = inspector.rows("SELECT chat_id::text, micros FROM spending_openhold")
    found.money += [f"{row['micros']} micros are held for {row['chat_id']}" for row in held]
