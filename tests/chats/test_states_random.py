"""Random sequences of everything that can happen to chats, checked after every step.

Besides the invariants, two clients follow each chat: one hears every doorbell, the other loses,
doubles and swaps them and catches up now and then. Both must show what a fresh client shows.

A story is 50 steps of one chat, drawn from a seed that hypothesis picks. By default the stories
are the same every time; with `CHATD_TEST_STEPS`, the number of steps to make, they are new. A
failure names the seed and the steps so far; `Story(…, seed)` in `_tell` plays them again. The
steps of a story are drawn by weight, so that rare states are reached often enough to matter.
"""

import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest
from django.db.models import Sum
from django.test import TestCase

from chatd.chats import moves, retention, runs, states
from chatd.chats.call_holds import admit_call, end_failed_call
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.moves import EpisodeMovedError
from chatd.chats.new_messages import NewMessage, StepUsage
from chatd.chats.open_steps import (
    CallState,
    OpenCall,
    UnstoredMessage,
    calls_in_doubt,
    open_calls,
    record_calls,
)
from chatd.chats.partial import Partial, partial_from_log
from chatd.chats.parts import ToolResultPart
from chatd.chats.runs import Fence, Progress
from chatd.chats.selectors import open_client_calls, prompt_messages
from chatd.chats.states import Decision
from chatd.chats.transition import StateConflictError
from chatd.core.clock import now
from chatd.core.errors import ChatdError
from chatd.live.messages import Episode, Notification, PartEntry, encode
from chatd.providers.models import ModelConfig
from chatd.providers.prices import set_prices
from chatd.providers.pricing import Prices
from chatd.sockets import feed
from chatd.spending.holds import CallToAdmit, WorstCase
from chatd.spending.ledger import Account
from chatd.spending.ledger_models import CallKind, LedgerEntry, OpenHold
from tests.chats.follower import Follower, in_this_thread
from tests.chats.invariants import Dump, check_chat, check_search, check_step, dump
from tests.chats.recorder import Recorder, run_now
from tests.chats.situations import (
    CLIENT_TOOL,
    answer,
    call_part,
    cost,
    fence_of,
    result_of,
    summary,
)
from tests.conftest import Cast
from tests.support.people import pending_chat, user_content
from tests.support.spending import check_days, check_ledger

STEPS = int(os.environ.get("CHATD_TEST_STEPS", "2000"))
STEPS_OF_STORY = 50
CHUNKS = 8
PAST = timedelta(seconds=1)
PRICES = Prices(input=Decimal("1.5"), output=Decimal(7))

REFUSED = (StateConflictError, EpisodeMovedError, ChatdError)

pytestmark = pytest.mark.django_db


class Story:
    """One chat, the people who use it, runners that come and go, and two clients."""

    def __init__(self, cast: Cast, model: ModelConfig, recorder: Recorder, seed: int) -> None:
        self.random = random.Random(seed)
        self.alice = cast.alice
        set_prices(model.pk, PRICES, by=None)
        self.recorder = recorder
        self.recorder.clear()
        self.steps: list[str] = []
        self.outcomes: Counter[str] = Counter()
        with TestCase.captureOnCommitCallbacks(execute=True):
            self.chat_id = pending_chat(
                cast.alice, cast.organization, model, dynamic_tools=[CLIENT_TOOL]
            ).pk
        assert self.recorder.woken == [self.chat_id]
        self.now = dump(self.chat_id)
        self.fences: list[Fence] = []
        self.deleted: set[int] = set()
        self.faithful = Follower(self.chat_id, self.recorder)
        self.careless = Follower(self.chat_id, self.recorder)
        self.unheard: list[Notification | PartEntry] = []

    def step(self) -> None:
        """Make one step that the state allows, drawn by weight."""
        able = [(weight, name) for weight, name, when in STEPS_BY_WEIGHT if when(self)]
        [name] = self.random.choices(
            [name for _, name in able], weights=[weight for weight, _ in able]
        )
        self.steps.append(name)
        getattr(self, name)()

    def flip(self) -> bool:
        return self.random.random() < 0.5

    # one step

    def happen(self, event: Callable[[], Any]) -> Any:
        """Let something happen and check everything that must hold. Returns None if refused."""
        self.recorder.clear()
        before = self.now
        refused = False
        outcome = None
        with TestCase.captureOnCommitCallbacks(execute=True):
            try:
                outcome = event()
            except REFUSED:
                refused = True
        after = self.now = dump(self.chat_id)
        changed = after != before
        self.outcomes[f"{self.steps[-1]} {'changed' if changed else 'refused'}"] += 1
        if changed:
            assert not refused
            check_chat(after)
            check_search(after)
            check_step(before, after, self.recorder.notices)
        else:
            assert self.recorder.notices == []
            assert self.recorder.woken == []
        if refused:
            assert not changed
        self._check_deleted(after)
        self.check_money()
        self._follow(before)
        return outcome

    def _check_deleted(self, after: Dump) -> None:
        gone = {row["id"] for row in after.messages if row["deleted"]}
        assert self.deleted <= gone
        self.deleted = gone

    def _follow(self, before: Dump) -> None:
        """Replay what was announced and compare the clients with a fresh one."""
        heard = self.recorder.notifications
        if any(notification.full_refresh for notification in heard):
            kept = {row["id"] for row in before.visible} - self.deleted
            edited = min({row["id"] for row in before.visible} - kept)
            self.faithful.truncate(edited)
            self.careless.truncate(edited)
        for notification in heard:
            self.faithful.hear(notification)
        self.unheard += heard
        self.compare(self.faithful)

    def compare(self, follower: Follower) -> None:
        fresh = Follower(self.chat_id, self.recorder)
        assert follower.shown() == fresh.shown()
        assert [body["id"] for body in fresh.shown()["messages"]] == [
            row["id"] for row in self.now.visible
        ]
        assert [body["id"] for body in fresh.queue] == self.now.queued_ids
        assert fresh.status == self.now.status
        if follower is self.faithful:  # parts are best effort for one that loses doorbells
            assert follower.parts == fresh.parts

    def partial(self) -> Partial | None:
        """Read what the running episode has streamed, as an action does."""
        if self.now.status != Status.RUNNING:
            return None
        return partial_from_log(self.episode, self.logged())

    def logged(self) -> list[PartEntry]:
        return self.recorder.read_blocking(self.chat_id, self.episode)

    # money

    def takes_no_hold(self) -> bool:
        return self.calls_the_model() and self.hold is None

    @property
    def hold(self) -> OpenHold | None:
        """What is held for the call that the runner makes now."""
        return OpenHold.objects.filter(runner_id=self.now.chat["runner_id"]).first()

    def hold_money(self) -> None:
        """Admit a call; nobody is told. A runner that lost the chat gets nothing."""
        worst = WorstCase(prices=PRICES, input_tokens=90, output_tokens=50, least_output=10)

        def call(account: Account) -> CallToAdmit:
            return CallToAdmit(
                account=account,
                kind=CallKind.TURN,
                model_config_id=self.now.chat["last_model_config_id"],
                step=self.now.chat["history_version"],
                worst=worst,
                runner_id=self.now.chat["runner_id"],
            )

        lost = replace(fence_of(self.chat), runner_id=uuid4())
        with pytest.raises(StateConflictError):
            admit_call(lost, call)
        self.unheard_write(lambda: admit_call(fence_of(self.chat), call))
        self.check_money()

    def call_fails(self) -> None:
        """A call fails after some words or none; what it wrote is charged at once."""
        assert self.hold is not None
        hold_id, written = self.hold.pk, self.random.choice([0, 1, 60])
        end_failed_call(fence_of(self.chat), hold_id, written)
        before, self.now = self.now, dump(self.chat_id)
        assert self.now.visible == before.visible
        assert len(self.now.messages) == len(before.messages) + bool(written)
        self.deleted = {row["id"] for row in self.now.messages if row["deleted"]}
        assert self.hold is None
        self.check_money()

    def answered(self, *parts: dict[str, Any]) -> NewMessage:
        """Return an answer with what its call took; nothing is known where nothing was held."""
        hold = self.hold
        if hold is None:
            return answer(*parts)
        usage = StepUsage(
            input_tokens=self.random.randint(0, 90), output_tokens=self.random.randint(0, 50)
        )
        return replace(answer(*parts), usage=usage, prices=PRICES, hold_id=hold.pk)

    def end(self) -> None:
        """Put the chat away and purge it: what it cost stays in the books."""
        spent = LedgerEntry.objects.filter(chat_id=self.chat_id).aggregate(Sum("settled_micros"))
        partials = {self.chat_id: found} if (found := self.partial()) else None
        with TestCase.captureOnCommitCallbacks(execute=True), suppress(StateConflictError):
            states.archive_chat(self.chat_id, partials=partials)
        archived = LedgerEntry.objects.filter(chat_id=self.chat_id)
        after = archived.aggregate(Sum("settled_micros"))
        Chat.objects.filter(pk=self.chat_id).update(updated_at=now() - timedelta(days=2))
        assert retention.purge_chats(now() - timedelta(days=1))
        assert not ChatMessage.objects.filter(chat=self.chat_id).exists()
        assert archived.aggregate(Sum("settled_micros")) == after
        assert (after["settled_micros__sum"] or 0) >= (spent["settled_micros__sum"] or 0)
        assert not OpenHold.objects.filter(chat_id=self.chat_id, runner_id__isnull=False).exists()
        check_days(self.alice.pk)

    def check_money(self) -> None:
        """The ledger, the sums by day, the messages and the open holds say the same."""
        check_ledger(self.chat_id)
        held = OpenHold.objects.filter(chat_id=self.chat_id, runner_id__isnull=False)
        runner_id = self.now.chat["runner_id"]
        assert all(hold.runner_id == runner_id for hold in held)
        assert len(held) <= 1

    @property
    def episode(self) -> Episode:
        return Episode(self.now.chat["history_version"], self.now.chat["attempt"])

    @property
    def chat(self) -> Chat:
        return Chat.objects.get(pk=self.chat_id)

    def runs(self) -> bool:
        return self.now.status == Status.RUNNING

    def pends(self) -> bool:
        return self.now.status == Status.PENDING

    def waits(self) -> bool:
        return self.now.status == Status.REQUIRES_ACTION

    def is_archived(self) -> bool:
        return bool(self.now.chat["archived"])

    def is_active(self) -> bool:
        return not self.is_archived()

    def try_what_the_state_refuses(self) -> None:
        """Each of these checks for itself that it was refused where it had to be."""
        tries = [self.send, self.edit, self.submit_results, self.recover, self.expire_action]
        if self.now.queue:
            tries.append(self.promote)
        if not self.pends():
            tries.append(self.acquire)
        tries.append(self.archive if self.is_archived() else self.unarchive)
        self.random.choice(tries)()

    # people

    def send(self) -> None:
        before = self.now
        interrupt = self.flip()
        words = self.random.choice(["one", "two", "three"])
        sent = self.happen(
            lambda: states.send_message(
                self.chat_id,
                user_content(self.alice.pk, words),
                interrupt=interrupt,
                partial=self.partial(),
            )
        )
        if before.chat["archived"] or (sent is None and len(before.queue) == moves.MAX_QUEUED):
            assert sent is None
            return
        idle = before.status not in (Status.PENDING, Status.RUNNING, Status.REQUIRES_ACTION)
        assert (sent.message is not None) is (idle and not before.queue)
        self.check_promoted(before, when=bool(before.queue) and (idle or interrupt))

    def check_promoted(self, before: Dump, *, when: bool) -> None:
        """The head of the queue is what a promotion takes, and its words become a message."""
        if not when or before.status == Status.PENDING:
            assert self.now.queued_ids[: len(before.queue)] == before.queued_ids
            return
        head = before.queue[0]
        assert self.now.queued_ids[: len(before.queue) - 1] == before.queued_ids[1:]
        newest = self.now.visible[-1]
        assert (newest["role"], newest["content"]) == (Role.USER, head["content"])
        assert self.now.status == Status.PENDING

    def interrupt(self) -> None:
        before = self.now
        chat = self.happen(lambda: states.interrupt(self.chat_id, partial=self.partial()))
        assert chat is not None, "an interrupt never fails because of the state"
        self.check_promoted(before, when=bool(before.queue) and not before.chat["archived"])

    def stop_with_an_outdated_partial_answer(self) -> None:
        old = Partial(Episode(self.now.chat["history_version"], self.now.chat["attempt"] - 1))
        before = self.now
        calls: dict[str, Callable[[], Any]] = {
            "interrupt": lambda: states.interrupt(self.chat_id, partial=old),
            "promote": lambda: states.promote_queued(
                self.chat_id,
                (before.queued_ids or [0])[0],
                promoted_by=self.alice.pk,
                partial=old,
            ),
            "archive": lambda: states.archive_chat(self.chat_id, partials={self.chat_id: old}),
            "send": lambda: states.send_message(
                self.chat_id, user_content(self.alice.pk), interrupt=True, partial=old
            ),
        }
        assert self.happen(self.random.choice(list(calls.values()))) is None
        assert self.now == before

    def edit(self) -> None:
        before = self.now
        target = self.random.choice(before.messages)
        if self.flip():
            target = next(row for row in reversed(before.visible) if row["role"] == Role.USER)
        edited = self.happen(
            lambda: states.edit_message(
                self.chat_id,
                target["id"],
                user_content(self.alice.pk, "edited"),
                partial=self.partial() if self.flip() else None,
            )
        )
        written = target["role"] == Role.USER and not target["compressed"]
        allowed = written and not target["deleted"]
        assert (edited is not None) is (allowed and not before.chat["archived"])
        if edited:
            assert self.now.queue == ()
            assert self.now.status == Status.PENDING
            assert self.now.visible[-1]["content"] == user_content(self.alice.pk, "edited").content

    def delete_queued(self) -> None:
        target = self.random.choice([*self.now.queued_ids, 0])
        assert self.happen(lambda: states.delete_queued(self.chat_id, target)) is (target != 0)
        assert target not in self.now.queued_ids

    def promote(self) -> None:
        before = self.now
        head = self.random.choice(before.queue)
        promoted = self.happen(
            lambda: states.promote_queued(
                self.chat_id, head["id"], promoted_by=self.alice.pk, partial=self.partial()
            )
        )
        assert (promoted is not None) is not before.chat["archived"]
        if promoted:
            assert self.now.visible[-1]["content"] == head["content"]
            assert self.now.queued_ids == [n for n in before.queued_ids if n != head["id"]]

    def submit_results(self) -> None:
        before = self.now
        problem = self.random.choice(["", "", "", "missing", "extra", "twice", "not JSON"])
        waits = before.status == Status.REQUIRES_ACTION and not before.chat["archived"]
        results = [
            ToolResultPart(tool_call_id=call["tool_call_id"], result={"n": 1})
            for call in open_client_calls(self.chat)
        ] or [ToolResultPart(tool_call_id="unknown", result=1)]
        if problem == "missing":
            results = results[1:]
        elif problem == "extra":
            results.append(ToolResultPart(tool_call_id="nobody asked", result=1))
        elif problem == "twice":
            results.append(results[0])
        elif problem == "not JSON":
            results[0] = ToolResultPart(tool_call_id=results[0].tool_call_id)
        chat = self.happen(
            lambda: states.submit_tool_results(self.chat_id, results, submitted_by=self.alice.pk)
        )
        assert (chat is not None) is (waits and not problem)
        if chat:
            assert self.now.status == Status.PENDING
            assert open_client_calls(self.chat) == []

    def archive(self) -> None:
        before = self.now
        partials = {self.chat_id: found} if (found := self.partial()) else None
        done = self.happen(lambda: states.archive_chat(self.chat_id, partials=partials))
        assert (done is None) is before.chat["archived"]
        assert self.now.queue == before.queue

    def unarchive(self) -> None:
        before = self.now
        done = self.happen(lambda: states.unarchive_chat(self.chat_id))
        assert (done is not None) is before.chat["archived"]
        assert self.now.status == before.status

    # runners

    def acquire(self) -> None:
        before = self.now
        chat = self.happen(lambda: runs.acquire(self.chat_id, uuid4(), lease_seconds=30))
        assert (chat is not None) is (before.status == Status.PENDING)
        if chat:
            self.fences.append(fence_of(chat))

    def renew(self) -> None:
        """A renewal moves the lease and nothing else; others hold none."""
        runner_id, before = self.now.chat["runner_id"], self.now
        held = runs.renew_leases([runner_id, uuid4()], lease_seconds=60)
        self.now = dump(self.chat_id)
        assert held == {runner_id}
        assert self.now.chat["lease_expires_at"] > now()
        same = {"lease_expires_at": None}
        assert self.now.chat | same == before.chat | same
        assert self.now.messages == before.messages

    def stream(self) -> None:
        """Stream a part of the running step into the log and to the faithful client."""
        kinds = ["text", "text", "reasoning", "call", "whole call", "result", "compaction"]
        kind = self.random.choice(kinds)
        call_id = f"streamed-{self.now.version}"
        call = {"type": "tool-call", "tool_call_id": call_id, "tool_name": "ask_browser"}
        role, part = {
            "text": ("assistant", {"type": "text", "text": "a word "}),
            "reasoning": ("assistant", {"type": "reasoning", "text": "hm "}),
            "call": ("assistant", call | {"args_delta": '{"q": '}),
            "whole call": ("assistant", call | {"args": {"q": 2}}),
            "result": ("tool", result_of(call_part("other")).content[0]),
            "compaction": ("assistant", summary()[1].content[0]),
        }[kind]
        if kind == "result":
            part = part | {"tool_call_id": call_id}
        logged = partial_from_log(self.episode, self.logged())
        known = [item.part.get("tool_call_id") for item in logged.parts if item.role == role]
        asked = [item.part.get("tool_call_id") for item in logged.parts]
        if kind == "result" and (call_id not in asked or call_id in known):
            return
        entry = PartEntry(
            episode=self.episode,
            seq=len(self.logged()) + 1,
            parts=[msgspec.Raw(encode({"role": role, "part": part}))],
        )
        run_now(self.recorder.append(self.chat_id, entry))
        self.faithful.hear_parts(entry)
        self.unheard.append(entry)
        self.compare(self.faithful)

    def commit_step(self) -> None:
        made = [call_part("built_in") for _ in range(self.random.randrange(3))]
        messages = [self.answered(*made), *map(result_of, made)]
        if self.random.random() < 0.2:
            messages = []
        progress = self.happen(lambda: runs.commit_step(fence_of(self.chat), messages))
        self.advance(progress)
        assert self.runs()

    def advance(self, progress: Progress) -> None:
        """What the runner was told is what is stored; its next write names it."""
        stored = (self.now.status, self.now.chat["history_version"], self.now.chat["attempt"])
        assert (progress.status, progress.history_version, progress.attempt) == stored
        if self.runs():
            self.fences.append(fence_of(self.chat))

    def compact(self) -> None:
        """Summarise: the prompt begins with the summary, and what was summarised stays."""
        before, spent = self.now, self.random.choice([None, cost(0), cost(7)])
        rows = summary(f"summary {before.version}") if self.random.random() < 0.9 else []
        progress = self.happen(lambda: runs.compact(fence_of(self.chat), rows, spent))
        self.advance(progress)
        assert self.runs()
        kept = [row for row in self.now.messages if row["id"] <= before.messages[-1]["id"]]
        assert tuple(kept) == before.messages
        if rows:
            prompt = [row for row in prompt_messages(self.chat_id) if row.role != Role.SYSTEM]
            assert [row.content for row in prompt] == [rows[0].content]
            assert [row["content"] for row in self.now.visible[-2:]] == [
                row.content for row in rows[1:]
            ]

    def retry(self) -> None:
        notice = {"attempt": 1, "delay_ms": 5, "error": "again", "retrying_at": "now"}
        self.advance(self.happen(lambda: runs.record_retry(fence_of(self.chat), notice)))

    def finish(self) -> None:
        before = self.now
        messages = [] if self.flip() else [self.answered()]
        spent = self.random.choice([None, cost(3)])
        self.advance(self.happen(lambda: runs.finish(fence_of(self.chat), messages, spent)))
        self.check_promoted(before, when=bool(before.queue))
        assert self.recorder.cancelled == []

    def require_action(self) -> None:
        asked = [call_part() for _ in range(self.random.randint(1, 2))]
        own = call_part("built_in")
        messages = [self.answered(own, *asked), result_of(own)]
        self.advance(self.happen(lambda: runs.require_action(fence_of(self.chat), messages)))
        assert open_client_calls(self.chat) == asked
        assert self.recorder.cancelled == []

    # tools that the server carries out

    def carries_out(self) -> bool:
        return self.runs() and self.now.open_step is not None

    def calls_the_model(self) -> bool:
        return self.runs() and self.now.open_step is None

    def doubts(self) -> bool:
        return bool(calls_in_doubt(self.chat))

    def open_step(self) -> None:
        """Write a step down before its tools run; nobody is told."""
        made = [call_part("built_in") for _ in range(self.random.randint(1, 3))]
        asked = [call_part()] if self.random.random() < 0.2 else []
        calls = [
            OpenCall(call=call, state=CallState.BEGUN, is_read_only=self.flip()) for call in made
        ] + [OpenCall(call=call, state=CallState.OF_CLIENT) for call in asked]
        self.unheard_write(
            lambda: runs.open_step(fence_of(self.chat), self.answered(*made, *asked), calls)
        )

    def unheard_write(self, write: Callable[[], Any]) -> None:
        self.recorder.clear()
        before = self.now
        write()
        self.now = dump(self.chat_id)
        assert replace(self.now, open_step=before.open_step) == before
        assert (self.recorder.notices, self.recorder.woken) == ([], [])
        check_chat(self.now)
        self.check_money()

    def carry_out(self) -> None:
        """Go on with an open step: begin what is left over, record a result, or commit it."""
        calls = open_calls(self.chat_id)
        step = self.now.open_step
        assert step is not None
        if step["runner_id"] is None:
            for call in calls:
                if call.state is CallState.AGAIN:
                    call.state = CallState.BEGUN
            self.unheard_write(lambda: runs.open_step(fence_of(self.chat), None, calls))
            return
        begun = [call for call in calls if call.state is CallState.BEGUN]
        if begun:
            call = self.random.choice(begun)
            call.state, call.result = CallState.DONE, result_of(call.call).content[0]
            runner_id = self.now.chat["runner_id"]
            self.unheard_write(lambda: record_calls(self.chat_id, runner_id, calls))
            return
        self.commit_open_step(step, calls)

    def commit_open_step(self, step: dict[str, Any], calls: list[OpenCall]) -> None:
        messages = [result_of(call.call) for call in calls if call.state is CallState.DONE]
        if step["message"] is not None:
            messages.insert(0, msgspec.convert(step["message"], UnstoredMessage).message())
        waits = any(call.state is CallState.OF_CLIENT for call in calls)
        change = runs.require_action if waits else runs.commit_step
        self.advance(self.happen(lambda: change(fence_of(self.chat), messages)))
        assert self.now.open_step is None

    def decide(self) -> None:
        calls = calls_in_doubt(self.chat)
        decision = self.random.choice(list(Decision))
        call_id = self.random.choice([*(call.id for call in calls), uuid4()])
        chat = self.happen(
            lambda: states.decide_call(
                self.chat_id, call_id, decision, decided_by=self.alice.pk, result={"n": 1}
            )
        )
        assert (chat is not None) is (call_id in {call.id for call in calls})
        if chat is not None:
            assert len(calls_in_doubt(self.chat)) == len(calls) - 1
            assert self.now.status == (Status.ERROR if len(calls) > 1 else Status.PENDING)

    def check_handed_over(self, before: Dump) -> None:
        """What may have changed something, and has no result, is never begun again unasked."""
        calls = before.open_step["calls"] if before.open_step else []
        lost = [call for call in calls if call["state"] == "begun" and not call.get("is_read_only")]
        assert self.now.status == (Status.ERROR if lost else Status.PENDING)
        assert [call.call_id for call in calls_in_doubt(self.chat)] == [
            call["call"]["tool_call_id"] for call in lost
        ]

    def fail(self) -> None:
        before = self.now
        error = {"message": "The provider is gone.", "kind": "generic", "retryable": False}
        self.advance(self.happen(lambda: runs.fail(fence_of(self.chat), error)))
        assert self.now.chat["last_error"] == error
        assert self.now.queue == before.queue

    def release(self) -> None:
        runner_id = self.now.chat["runner_id"]
        before = self.now
        assert self.happen(lambda: runs.release(self.chat_id, runner_id)) is True
        self.check_handed_over(before)

    def a_runner_that_lost_the_chat_writes(self) -> None:
        """Whatever a fenced-out runner tries is refused and changes nothing."""
        event = self.random.choice(
            ["commit", "compact", "finish", "require", "fail", "retry", "release"]
        )
        held = (self.now.chat["runner_id"], self.now.chat["history_version"])
        stale = [f for f in self.fences if (f.runner_id, f.history_version) != held]
        if event == "release":  # names no history: the runner itself must be gone
            stale = [f for f in stale if f.runner_id != held[0]]
        if not stale:
            return
        fence = self.random.choice(stale)
        late = [answer(call_part())]
        calls: dict[str, Callable[[], Any]] = {
            "commit": lambda: runs.commit_step(fence, late),
            "finish": lambda: runs.finish(fence, late),
            "compact": lambda: runs.compact(fence, summary(), cost()),
            "require": lambda: runs.require_action(fence, late),
            "fail": lambda: runs.fail(fence, {"message": "late"}),
            "retry": lambda: runs.record_retry(fence, {"attempt": 9}),
            "release": lambda: runs.release(self.chat_id, fence.runner_id) or None,
        }
        before = self.now
        assert self.happen(calls[event]) is None
        assert self.now == before

    # time

    def recover(self) -> None:
        if self.runs() and self.flip():
            Chat.objects.filter(pk=self.chat_id).update(lease_expires_at=now() - PAST)
            self.now = dump(self.chat_id)
        due = self.runs() and self.now.chat["lease_expires_at"] < now()
        runner_id, before = self.now.chat["runner_id"], self.now
        assert self.happen(lambda: runs.recover(self.chat_id)) is due
        assert self.recorder.cancelled == ([runner_id] if due else [])
        if due:
            self.check_handed_over(before)

    def expire_action(self) -> None:
        waits = self.waits()
        if waits and self.flip():
            Chat.objects.filter(pk=self.chat_id).update(action_deadline_at=now() - PAST)
            self.now = dump(self.chat_id)
        due = (
            waits and not self.now.chat["archived"] and self.now.chat["action_deadline_at"] < now()
        )
        assert self.happen(lambda: runs.expire_action(self.chat_id)) is due
        if due:
            assert self.now.chat["last_error"]["message"] == runs.ACTION_TIMED_OUT

    # the careless client

    def hear_some(self) -> None:
        """Some of what was announced arrives, in any order, some of it twice; then a poll heals."""
        for item in self.random.choices(self.unheard, k=self.random.randrange(7)):
            if isinstance(item, Notification):
                self.careless.hear(item)
            else:
                self.careless.hear_parts(item)
        self.unheard = []
        self.careless.catch_up()
        self.compare(self.careless)


def always(story: Story) -> bool:
    return True


def has_queue(story: Story) -> bool:
    return bool(story.now.queue)


STEPS_BY_WEIGHT: list[tuple[float, str, Callable[[Story], bool]]] = [
    (4, "send", Story.is_active),
    (1, "interrupt", always),
    (1, "edit", Story.is_active),
    (1, "delete_queued", has_queue),
    (1, "promote", has_queue),
    (8, "submit_results", Story.waits),
    (0.5, "archive", Story.is_active),
    (4, "unarchive", Story.is_archived),
    (12, "acquire", Story.pends),
    (1, "renew", Story.runs),
    (4, "stream", Story.runs),
    (8, "hold_money", Story.takes_no_hold),
    (1, "call_fails", lambda story: story.calls_the_model() and story.hold is not None),
    (3, "commit_step", Story.calls_the_model),
    (1, "compact", Story.calls_the_model),
    (1, "retry", Story.calls_the_model),
    (2, "finish", Story.calls_the_model),
    (2, "require_action", Story.calls_the_model),
    (3, "open_step", Story.calls_the_model),
    (8, "carry_out", Story.carries_out),
    (4, "decide", Story.doubts),
    (1, "fail", Story.runs),
    (1, "release", Story.runs),
    (1, "recover", Story.runs),
    (1, "stop_with_an_outdated_partial_answer", Story.runs),
    (2, "expire_action", Story.waits),
    (2, "a_runner_that_lost_the_chat_writes", lambda story: bool(story.fences)),
    (2, "try_what_the_state_refuses", always),
    (2, "hear_some", lambda story: bool(story.unheard)),
]
"""How often each step is drawn, among those for which there is something to do."""


def _first_seed() -> int:
    return random.SystemRandom().randrange(2**40) if "CHATD_TEST_STEPS" in os.environ else 0


@pytest.mark.timeout(600 + STEPS * 0.05)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_any_sequence_keeps_the_invariants_and_every_client_up_to_date(
    chunk: int,
    cast: Cast,
    model: ModelConfig,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed, "in_database_thread", in_this_thread)
    outcomes: Counter[str] = Counter()

    @hypothesis.seed(_first_seed() + chunk)
    @hypothesis.settings(
        max_examples=max(STEPS // STEPS_OF_STORY // CHUNKS, 1),
        phases=[hypothesis.Phase.generate],  # a seed cannot be made simpler
        deadline=None,
        database=None,
    )
    @hypothesis.given(st.integers(0, 2**40))
    def tell(seed: int) -> None:
        outcomes.update(_tell(Story(cast, model, recorder, seed), seed))

    tell()
    for name in ("send", "acquire", "interrupt", "commit_step", "finish"):
        assert outcomes[f"{name} changed"], f"no story got as far as {name}"


def _tell(story: Story, seed: int) -> Counter[str]:
    """Play one story to its end and return what its steps came to."""
    try:
        for _ in range(STEPS_OF_STORY):
            story.step()
        story.end()
    except Exception as error:
        error.add_note(f"seed {seed}, steps: {' '.join(story.steps)}")
        raise
    return story.outcomes
