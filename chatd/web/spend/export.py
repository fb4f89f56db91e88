"""Reports as CSV: streamed, so that memory does not grow with what there is."""

import csv
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from chatd.accounts.models import User
from chatd.core.clock import rfc3339
from chatd.spending.amounts import exact_dollars
from chatd.spending.ledger_models import LedgerEntry
from chatd.spending.reports import iterate_entries, iterate_lines
from chatd.spending.scopes import By, Line
from chatd.web.spend.names import Names, names_of
from chatd.web.spend.query import ENTRIES, Query

BREAKDOWN_COLUMNS = (
    "id",
    "name",
    "about",
    "spent_micros",
    "spent_dollars",
    "priced_calls",
    "unpriced_calls",
    "estimated_calls",
    "overruns",
)
ENTRY_COLUMNS = (
    "id",
    "created_at",
    "kind",
    "call_kind",
    "call_id",
    "user_id",
    "user",
    "organization_id",
    "root_chat_id",
    "chat_id",
    "chat",
    "model_config_id",
    "model",
    "held_micros",
    "held_dollars",
    "settled_micros",
    "settled_dollars",
    "is_priced",
    "is_estimated",
    "is_overrun",
    "note",
)


_AT_ONCE = 500
"""How many lines are sent together."""


class _Echo:
    """What a CSV writer writes into: it hands the line back."""

    def write(self, line: str) -> str:
        return line


def csv_response(request: HttpRequest, lines: Iterator[str], name: str) -> StreamingHttpResponse:
    """Return a download that is written while it is read from the database."""
    is_async = isinstance(request, ASGIRequest)
    pieces = _pieces(lines)
    return StreamingHttpResponse(
        # An asynchronous server would read the whole of what is no asynchronous iterator first.
        _in_turn(pieces) if is_async else pieces,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    while piece := "".join(islice(lines, _AT_ONCE)):
        yield piece


async def _in_turn(pieces: Iterator[str]) -> AsyncIterator[str]:
    """Read each piece in the thread that has the request's connection to the database."""

    def read() -> str:
        return next(pieces, "")

    while piece := await sync_to_async(read)():
        yield piece


def csv_lines(reader: User, query: Query) -> Iterator[str]:
    """Yield the whole breakdown, or all rows of the ledger, as lines of CSV."""
    writer = csv.writer(_Echo())
    if query.by == ENTRIES:
        yield writer.writerow(ENTRY_COLUMNS)
        for entries in iterate_entries(query.scope, everything=query.everything):
            yield from (writer.writerow(row) for row in _entry_rows(reader, entries))
        return
    by = By(query.by)
    yield writer.writerow(BREAKDOWN_COLUMNS)
    for lines in iterate_lines(query.scope, by):
        names = names_of(reader, by, [line.key for line in lines])
        yield from (writer.writerow(_line_row(line, names)) for line in lines)


def _line_row(line: Line, names: Names) -> list[str]:
    name, sums = names[line.key], line.sums
    return [
        _cell(line.key),
        _cell(name.text),
        _cell(name.about),
        *_amount(sums.spent_micros),
        *map(str, (sums.priced, sums.unpriced, sums.estimated, sums.overruns)),
    ]


def _entry_rows(reader: User, entries: list[LedgerEntry]) -> Iterator[list[str]]:
    users = names_of(reader, By.USER, {entry.owner_id for entry in entries})
    chats = names_of(reader, By.CHAT, {entry.root_chat_id for entry in entries})
    models = names_of(reader, By.MODEL, {entry.model_config_id for entry in entries})
    for entry in entries:
        model = entry.model_config_id
        yield [
            str(entry.pk),
            rfc3339(entry.created_at),
            entry.kind,
            entry.call_kind,
            str(entry.call_id),
            str(entry.owner_id),
            _cell(users[entry.owner_id].text),
            str(entry.organization_id),
            str(entry.root_chat_id),
            str(entry.chat_id),
            _cell(chats[entry.root_chat_id].text),
            _cell(model or ""),
            _cell(models[model].text if model else ""),
            *_amount(entry.held_micros),
            *_amount(entry.settled_micros),
            *(str(flag).lower() for flag in (entry.is_priced, entry.is_estimated)),
            str(entry.is_overrun).lower(),
            _cell(entry.note),
        ]


def _amount(micros: int) -> tuple[str, str]:
    """Return an amount in both ways. These are numbers, whatever their sign."""
    return str(micros), exact_dollars(micros)


def _cell(value: Any) -> str:
    text = str(value)
    # A spreadsheet must not take what somebody typed for a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
