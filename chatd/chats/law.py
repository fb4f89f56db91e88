"""The law of the state machine, as data: which event is allowed in which state, and where to.

`states` enforces it, the constraints of `models` repeat it, and the tests walk every pair.
"""

from collections.abc import Mapping
from enum import StrEnum

from chatd.chats.models import IDLE, Status

W, P, R, A, E = (
    Status.WAITING,
    Status.PENDING,
    Status.RUNNING,
    Status.REQUIRES_ACTION,
    Status.ERROR,
)

Targets = Mapping[Status, frozenset[Status]]


class Event(StrEnum):
    """What can happen to a chat. People's events first, then those of the engine."""

    SEND = "send"
    SEND_INTERRUPT = "send_interrupt"
    INTERRUPT = "interrupt"
    EDIT = "edit"
    DELETE_QUEUED = "delete_queued"
    PROMOTE = "promote"
    SUBMIT_TOOL_RESULTS = "submit_tool_results"
    DECIDE_CALL = "decide_call"
    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    ACQUIRE = "acquire"
    RETRY = "retry"
    COMMIT_STEP = "commit_step"
    COMPACT = "compact"
    FINISH = "finish"
    REQUIRE_ACTION = "require_action"
    FAIL = "fail"
    RELEASE = "release"
    RECOVER = "recover"
    EXPIRE_ACTION = "expire_action"


def _same(*statuses: Status) -> dict[Status, frozenset[Status]]:
    return {status: frozenset({status}) for status in statuses}


def _to(sources: frozenset[Status], *targets: Status) -> dict[Status, frozenset[Status]]:
    return dict.fromkeys(sources, frozenset(targets))


_ALL = frozenset(Status)

LAW: Mapping[Event, Targets] = {
    # An idle chat starts to work; a busy one queues.
    Event.SEND: {**_to(IDLE, P), **_same(P, R, A)},
    Event.SEND_INTERRUPT: _to(_ALL, P),
    # A queue with a head makes it pending again: nothing strands.
    Event.INTERRUPT: {**_to(_ALL - {P}, W, P), **_same(P)},
    Event.EDIT: _to(_ALL, P),
    Event.DELETE_QUEUED: _same(*Status),
    Event.PROMOTE: _to(_ALL, P),
    Event.SUBMIT_TOOL_RESULTS: {A: frozenset({P})},
    Event.DECIDE_CALL: {E: frozenset({E, P})},
    Event.ARCHIVE: {**_same(*Status), P: frozenset({W}), R: frozenset({W})},
    Event.UNARCHIVE: _same(*(Status(status) for status in _ALL - {P, R})),
    Event.ACQUIRE: {P: frozenset({R})},
    Event.RETRY: _same(R),
    Event.COMMIT_STEP: _same(R),
    Event.COMPACT: _same(R),
    Event.FINISH: {R: frozenset({W, P})},
    Event.REQUIRE_ACTION: {R: frozenset({A})},
    Event.FAIL: {R: frozenset({E})},
    # A tool call that nobody knows the outcome of waits for a person.
    Event.RELEASE: {R: frozenset({P, E})},
    Event.RECOVER: {R: frozenset({P, E})},
    Event.EXPIRE_ACTION: {A: frozenset({E})},
}
"""Allowed targets by event and source status."""

ALLOWED_WHEN_ARCHIVED = frozenset({Event.INTERRUPT, Event.DELETE_QUEUED, Event.UNARCHIVE})
"""Everything else refuses an archived chat; these never make it active."""


def allowed_targets(event: Event, status: Status, *, archived: bool) -> frozenset[Status]:
    """Return where `event` may lead from a state; empty means it is refused."""
    if archived and event not in ALLOWED_WHEN_ARCHIVED:
        return frozenset()
    if not archived and event is Event.UNARCHIVE:
        return frozenset()
    targets = LAW[event].get(status, frozenset())
    return targets - {P, R} if archived else targets
