"""Recording of model calls while debug logging is on: runs, their steps, the HTTP calls of each.

    with recorded_run(chat, call, DebugRunKind.QUICKGEN, enabled=is_wanted) as run:
        with run.step(request, provider, DebugOperation.GENERATE) as step:
            answer = await complete(request, provider, seconds=…, observer=step.observer)
            step.answered(answer)

Both can be entered in async and in plain code. They record how what is in them ends: well, by an
exception, or by a cancellation. A retry belongs to the step it repeats (`step.retries`). Nothing
here waits for the database or raises: what is to be written is handed to a thread of its own, and
what cannot be written is lost. When it is not enabled, nothing is done at all.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import structlog

from chatd.chats.debug_models import DebugOperation, DebugRunKind, DebugStatus
from chatd.chats.debug_writes import (
    RunSubject,
    end_run,
    link_answer,
    store_run,
    store_step,
    update_step,
)
from chatd.chats.models import Chat
from chatd.chats.transition import StateConflictError
from chatd.core.clock import now
from chatd.llm.errors import LLMError
from chatd.llm.observing import HttpAttempt, Observer
from chatd.llm.redaction import Redactor
from chatd.llm.types import Answer, Provider, Request
from chatd.providers.selectors import ModelCall
from chatd.turns.carrying import TakenAwayError
from chatd.turns.debug_shapes import (
    answer_body,
    attempt_body,
    error_body,
    request_body,
    retry_body,
    usage_body,
)
from chatd.turns.debug_thread import Write, debug_thread
from chatd.turns.step import StepResult

log = structlog.get_logger(__name__)

_INTERRUPTIONS = (asyncio.CancelledError, GeneratorExit, StateConflictError, TakenAwayError)


class StepRecorder:
    """One step. What it keeps for the writing thread is touched by that thread alone."""

    def __init__(self, run: "RunRecorder", provider: Provider) -> None:
        self.pk = uuid4()
        self.began_at_version = run.history_version
        self._run = run
        self._redactor = Redactor(provider)
        self._attempts: list[dict[str, Any]] = []
        self._columns: dict[str, Any] = {}

    @property
    def observer(self) -> Observer | None:
        """What the model client is to tell of its HTTP calls."""
        return self._observed if self._run.is_on else None

    def answered(self, answer: StepResult | Answer) -> None:
        """Keep what the call gave."""
        self._run.hand_over(lambda: self._keep_answer(answer))

    def retries(self, error: LLMError, delay_seconds: float) -> None:
        """Say that the last HTTP call failed, and is made again after a pause."""
        self._run.hand_over(lambda: self._keep_retry(error, delay_seconds))

    def begin(self, request: Request, operation: DebugOperation) -> None:
        started_at = now()

        def write() -> None:
            store_step(
                self.pk,
                self._run.pk,
                history_version=self.began_at_version,
                started_at=started_at,
                operation=operation,
                normalized_request=self._redactor.value(request_body(request)),
            )

        self._run.hand_over(write)

    def end(self, status: DebugStatus, error: BaseException | None) -> None:
        finished_at = now()

        def write() -> None:
            if status is DebugStatus.ERROR:
                self._columns["error"] = self._redactor.value(error_body(error))
            self._write(status=status, finished_at=finished_at)

        self._run.hand_over(write)

    # on the writing thread

    def _observed(self, attempt: HttpAttempt) -> None:
        self._run.hand_over(lambda: self._keep_attempt(attempt))

    def _keep_attempt(self, attempt: HttpAttempt) -> None:
        number = len(self._attempts) + 1
        self._attempts.append(attempt_body(attempt, number, self._redactor))
        endpoint = f"{attempt.method} {self._attempts[-1]['path']}"
        self._run.totals.setdefault("endpoint_label", endpoint)

    def _keep_retry(self, error: LLMError, delay_seconds: float) -> None:
        if self._attempts:
            self._attempts[-1] |= retry_body(error, delay_seconds)
        self._write()

    def _keep_answer(self, answer: StepResult | Answer) -> None:
        usage = usage_body(answer)
        response = self._redactor.value(answer_body(answer))
        self._columns |= {"normalized_response": response, "usage": usage}
        self._run.add_usage(usage or {})

    def _write(self, **columns: Any) -> None:
        attempts = list(self._attempts)
        update_step(self.pk, self._run.pk, attempts=attempts, **self._columns, **columns)


class RunRecorder:
    """One run. `totals` is what its summary will say; the writing thread alone touches it."""

    def __init__(self, subject: RunSubject | None, versions: Callable[[], int]) -> None:
        self.pk = uuid4()
        self.is_on = subject is not None
        self._subject = subject
        self.totals: dict[str, Any] = {}
        self._versions = versions
        self._last: StepRecorder | None = None
        self._steps = 0
        self._has_error = False
        if subject is not None:
            debug_thread.keep_alive(self.pk)
            self.hand_over(partial(store_run, self.pk, subject, started_at=now()))

    @property
    def history_version(self) -> int:
        return self._versions()

    @contextmanager
    def step(
        self, request: Request, provider: Provider, operation: DebugOperation
    ) -> Iterator[StepRecorder]:
        """Record what is in it as one model call with its retries."""
        step = StepRecorder(self, provider)
        if self.is_on:
            self._link_last()
            step.begin(request, operation)
            self._steps += 1
        status, failure = DebugStatus.COMPLETED, None
        try:
            yield step
        except BaseException as error:
            status, failure = _status_after(error), error
            raise
        finally:
            if self.is_on:
                step.end(status, failure)
                self._last = step
                self._has_error = self._has_error or status is DebugStatus.ERROR

    def beside(self, kind: DebugRunKind) -> "AbstractContextManager[RunRecorder]":
        """Record what is in it as a run of its own, of another kind, that is about the same."""
        about = self._subject
        if about is not None:
            about = replace(about, kind=kind, history_version=self.history_version)
        return _recorded(about, self._versions)

    def hand_over(self, write: Write) -> None:
        if self.is_on:
            debug_thread.hand_over(write)

    def add_usage(self, usage: dict[str, int]) -> None:
        for name, tokens in usage.items():
            total = name if name.startswith("total_") else f"total_{name}"
            self.totals[total] = self.totals.get(total, 0) + tokens

    def end(self, status: DebugStatus) -> None:
        self._link_last()
        counted = {
            "step_count": self._steps,
            "has_error": self._has_error or status is DebugStatus.ERROR,
        }
        self.hand_over(lambda: end_run(self.pk, status, {**self.totals, **counted}))
        debug_thread.let_go(self.pk)

    def _link_last(self) -> None:
        """Have the message named that was stored of the last step; it is stored after its end."""
        last, self._last = self._last, None
        if last is None:
            return
        after, until = last.began_at_version, self.history_version
        if until > after:
            self.hand_over(partial(link_answer, last.pk, self.pk, after=after, until=until))


def recorded_run(
    chat: Chat,
    call: ModelCall,
    kind: DebugRunKind,
    *,
    enabled: bool,
    history_version: Callable[[], int] | None = None,
) -> AbstractContextManager[RunRecorder]:
    """Record what is in it as one run about a chat, if that is `enabled`.

    `history_version` tells where the history of the chat stands by now, for work that writes it.
    """
    versions = history_version or (lambda: chat.history_version)
    return _recorded(_subject(chat, call, kind, versions()) if enabled else None, versions)


@contextmanager
def _recorded(subject: RunSubject | None, versions: Callable[[], int]) -> Iterator[RunRecorder]:
    run = RunRecorder(subject, versions)
    status = DebugStatus.COMPLETED
    try:
        yield run
    except BaseException as error:
        status = _status_after(error)
        raise
    finally:
        if run.is_on:
            run.end(status)


NOT_RECORDED = RunRecorder(None, lambda: 0)
"""A run that records nothing."""


def _status_after(error: BaseException) -> DebugStatus:
    stopped = isinstance(error, _INTERRUPTIONS)
    return DebugStatus.INTERRUPTED if stopped else DebugStatus.ERROR


def _subject(chat: Chat, call: ModelCall, kind: DebugRunKind, history_version: int) -> RunSubject:
    return RunSubject(
        chat_id=chat.pk,
        root_chat_id=chat.root_chat_id,
        parent_chat_id=chat.parent_chat_id,
        is_archived=chat.archived,
        history_version=history_version,
        kind=kind,
        model_config_id=call.config_id,
        provider=call.provider_type,
        model=call.model,
    )
