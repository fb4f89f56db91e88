"""Titles that a model writes: which model, the call, and what a person asks for.

Belongs here: the order of the checks, the call without a stream, what failures are told as. Does
not belong here: the words (`title_text`), the lock and storing (`chats.titles`).
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

import aiohttp
import structlog
from asgiref.sync import async_to_sync

from chatd.accounts.actor import Actor
from chatd.chats.models import Chat, Role, Visibility
from chatd.chats.selectors import first_and_last_messages, get_own_chat_for
from chatd.chats.titles import TitleClaim, store_title, title_claim
from chatd.chats.transition import NewMessage
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode
from chatd.core.threads import give_back_connections
from chatd.llm.client import complete
from chatd.llm.errors import LLMError
from chatd.llm.types import Answer, Request, SystemMessage, TextBlock, UserMessage
from chatd.preferences.registry import MODEL_OVERRIDES, ModelOverrideContext
from chatd.preferences.selectors import site_value
from chatd.providers.prices import price_at
from chatd.providers.pricing import Prices
from chatd.providers.selectors import (
    ModelCall,
    UnusableModelError,
    resolve_model_call,
    resolve_named_model,
)
from chatd.providers.small_models import usable_small_models
from chatd.turns.failures import error_of_setup
from chatd.turns.model_calls import MAX_ATTEMPTS, back_off_seconds, provider_of
from chatd.turns.step import step_usage
from chatd.turns.title_text import MAX_WORDS, TITLE_SCHEMA, TitlePrompt, read_title, title_prompt

log = structlog.get_logger(__name__)

TITLE_SECONDS = 30.0
MAX_TITLE_TOKENS = 256
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
        prices = price_at(call.config_id, now())
        give_back_connections()
        made = async_to_sync(ask_for_title)(call, chat.pk, prompt, prices)
    except UnusableModelError as error:
        detail = str(error_of_setup(error)["message"])
    except LLMError as error:
        detail = f"{error.message} {error.detail}".strip()
    else:
        if made.title:
            return made
        detail = NOT_A_TITLE
        store_title(claim, "", cost=made.cost)
    log.warning("no title was made", chat_id=str(chat.pk), reason=detail)
    raise ChatdError(ErrorCode.INTERNAL, failure, detail=detail)


def title_models(chat: Chat) -> Iterator[ModelCall]:
    """Yield the models to ask, the best first: small ones, then that of the chat.

    A model that the deployment has set for titles is the only one. Raises UnusableModelError when
    it is the turn of that model or of the chat's, and it cannot be called.
    """
    named = site_value(MODEL_OVERRIDES[ModelOverrideContext.TITLE_GENERATION])
    if named is not None:
        yield resolve_named_model(named, user_id=chat.owner_id)
        return
    yield from usable_small_models(user_id=chat.owner_id)
    yield resolve_model_call(chat.last_model_config_id, user_id=chat.owner_id)


async def ask_for_title(
    call: ModelCall,
    chat_id: UUID,
    prompt: TitlePrompt,
    prices: Prices,
    *,
    session: aiohttp.ClientSession | None = None,
) -> MadeTitle:
    """Ask one model, within `TITLE_SECONDS` and with retries. Raises LLMError."""
    started = time.monotonic()
    answer = await _answer(call, chat_id, prompt, session)
    cost = NewMessage(
        role=Role.ASSISTANT,
        content=[],
        visibility=Visibility.MODEL,
        model_config_id=call.config_id,
        usage=step_usage(answer.usage, call.context_limit),
        prices=prices,
        runtime_ms=int((time.monotonic() - started) * 1000),
    )
    return MadeTitle(title=read_title(answer.text), cost=cost if answer.usage else None)


async def _answer(
    call: ModelCall, chat_id: UUID, prompt: TitlePrompt, session: aiohttp.ClientSession | None
) -> Answer:
    clock = asyncio.get_running_loop().time
    deadline = clock() + TITLE_SECONDS
    request, provider = _request(call.model, prompt), provider_of(call, chat_id)
    failures = 0
    while True:
        try:
            return await complete(request, provider, seconds=deadline - clock(), session=session)
        except LLMError as error:
            if request.output and _knows_no_schemas(error):
                request = replace(request, output=None)
                continue
            failures += 1
            delay = back_off_seconds(error, failures)
            # a pause that ends too late would only keep a person from the reason
            too_late = clock() + delay >= deadline
            if too_late or failures == MAX_ATTEMPTS or not error.retryable:
                raise
        await asyncio.sleep(delay)


def _request(model: str, prompt: TitlePrompt) -> Request:
    return Request(
        model=model,
        messages=(
            SystemMessage(text=prompt.instructions),
            UserMessage(blocks=(TextBlock(text=prompt.latest),)),
        ),
        output=TITLE_SCHEMA,
        max_output_tokens=MAX_TITLE_TOKENS,
    )


def _knows_no_schemas(error: LLMError) -> bool:
    """Tell whether a server refused the schema of the answer; without one it may well answer."""
    words = error.detail.lower()
    about = "response_format" in words or "json_schema" in words or "response format" in words
    return about and error.status_code in (400, 422)
