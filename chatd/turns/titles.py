"""Titles that a model writes: which models, and what a person asks for.

Belongs here: the order of the checks, what failures are told as. Does not belong here: the words
(`title_text`), the call (`short_calls`), the lock and storing (`chats.titles`), titles that nobody
asked for (`first_titles`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import structlog
from asgiref.sync import async_to_sync

from chatd.accounts.actor import Actor
from chatd.chats.debug_models import DebugRunKind
from chatd.chats.models import Chat
from chatd.chats.new_messages import NewMessage
from chatd.chats.selectors import first_and_last_messages, get_own_chat_for
from chatd.chats.titles import TitleClaim, store_title, title_claim
from chatd.core.errors import ChatdError, ErrorCode
from chatd.core.threads import give_back_connections
from chatd.llm.errors import LLMError
from chatd.llm.types import Request
from chatd.preferences.debug_logging import debug_logging_of
from chatd.preferences.registry import MODEL_OVERRIDES, ModelOverrideContext
from chatd.preferences.selectors import site_value
from chatd.providers.selectors import (
    ModelCall,
    UnusableModelError,
    resolve_model_call,
    resolve_named_model,
)
from chatd.providers.small_models import usable_small_models
from chatd.spending.admission import LimitExceededError
from chatd.spending.holds import Hold, HoldRefusedError
from chatd.spending.ledger_models import CallKind
from chatd.turns.debugging import recorded_run
from chatd.turns.failures import error_of_setup
from chatd.turns.short_calls import Candidate, ask, candidate_of
from chatd.turns.side_holds import give_back, hold_for
from chatd.turns.title_text import MAX_WORDS, read_title, title_prompt, title_request

log = structlog.get_logger(__name__)

TITLE_SECONDS = 30.0
MESSAGES_AT_EACH_END = 50

NOT_A_TITLE = f"The model did not answer with a title of at most {MAX_WORDS} words. Try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeTitle:
    """What a model answered: a title, empty if it was none, and the hidden row of its cost."""

    title: str
    cost: NewMessage | None


NOTHING_TO_NAME = MadeTitle(title="", cost=None)


@contextmanager
def regenerating_title(actor: Actor, chat_id: UUID) -> Iterator[Callable[[], Chat]]:
    """Have a model write a new title of one's own chat; yields what stores it.

    Waits up to `TITLE_SECONDS`, so it must not be entered inside a transaction; what it yields is
    one short transaction. Raises ChatdError 403, 404, 409, 500.
    """
    get_own_chat_for(actor.user, chat_id, may="regenerate the title")
    with title_claim(chat_id) as claim:
        made = _make(claim, "Failed to regenerate chat title.")
        yield lambda: store_title(claim, made.title, cost=made.cost)


@contextmanager
def proposing_title(actor: Actor, chat_id: UUID) -> Iterator[Callable[[], str]]:
    """Like `regenerating_title`, but what it yields stores the cost alone and returns the title."""
    get_own_chat_for(actor.user, chat_id, may="propose a title")
    with title_claim(chat_id) as claim:
        made = _make(claim, "Failed to generate chat title.")

        def store() -> str:
            store_title(claim, "", cost=made.cost)
            return made.title

        yield store


def _make(claim: TitleClaim, failure: str) -> MadeTitle:
    """Ask for a title; nobody is asked about a chat in which its user wrote nothing."""
    chat = claim.chat
    prompt = title_prompt(first_and_last_messages(chat.pk, MESSAGES_AT_EACH_END))
    if prompt is None:
        return NOTHING_TO_NAME
    try:
        call = next(title_models(chat))
        candidate = candidate_of(call)
        is_recorded = debug_logging_of(chat.owner_id).enabled
        request = title_request(prompt)
        with (
            _holding(candidate, chat, request) as hold,
            recorded_run(chat, call, DebugRunKind.TITLE_GENERATION, enabled=is_recorded) as run,
        ):
            give_back_connections()
            answer = async_to_sync(ask)(
                candidate,
                chat.pk,
                request,
                kind=CallKind.TITLE,
                hold=hold,
                seconds=TITLE_SECONDS,
                debug=run,
            )
        if answer.cost is None:
            give_back(hold)
    except HoldRefusedError as refused:
        raise LimitExceededError(refused.standing) from None
    except UnusableModelError as error:
        detail = str(error_of_setup(error)["message"])
    except LLMError as error:
        detail = f"{error.message} {error.detail}".strip()
    else:
        if title := read_title(answer.text):
            return MadeTitle(title=title, cost=answer.cost)
        detail = NOT_A_TITLE
        store_title(claim, "", cost=answer.cost)
    log.warning("no title was made", chat_id=str(chat.pk), reason=detail)
    raise ChatdError(ErrorCode.INTERNAL, failure, detail=detail)


@contextmanager
def _holding(candidate: Candidate, chat: Chat, request: Request) -> Iterator[Hold]:
    """Hold what a title may cost, unless its call fails. Raises HoldRefusedError."""
    kind, seconds = CallKind.TITLE, TITLE_SECONDS
    hold = hold_for(candidate.call, candidate.prices, chat, kind, request, seconds=seconds)
    try:
        yield hold
    except LLMError:
        give_back(hold)
        raise


def title_models(chat: Chat) -> Iterator[ModelCall]:
    """Yield the models to ask, the best first: small ones, then that of the chat.

    A model that the deployment has set for titles is the only one. Raises UnusableModelError when
    it is the turn of that model or of the chat's, and it cannot be called.
    """
    named = site_value(MODEL_OVERRIDES[ModelOverrideContext.TITLE_GENERATION])
    if named is not None:
        yield resolve_named_model(named, user_id=chat.owner_id)
        return
    yield from label_models(chat)


def label_models(chat: Chat) -> Iterator[ModelCall]:
    """Yield small models, then that of the chat. Raises UnusableModelError for the last one."""
    yield from usable_small_models(user_id=chat.owner_id)
    yield resolve_model_call(chat.last_model_config_id, user_id=chat.owner_id)
