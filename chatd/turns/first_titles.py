"""The title that a new chat gets by itself, beside its first turn.

Belongs here: when a chat gets one, and the way from the question to the stored title. Does not
belong here: the words (`title_text`), which models (`titles`), when it is started (`side_calls`).
"""

from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog

from chatd.chats.content import initial_title
from chatd.chats.debug_models import DebugRunKind
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.parts import text_of
from chatd.chats.selectors import visible_messages
from chatd.chats.titles import store_first_title
from chatd.core.threads import in_database_thread
from chatd.preferences.debug_logging import debug_logging_of
from chatd.spending.ledger_models import CallKind
from chatd.turns.short_calls import Asker, Question, candidates
from chatd.turns.title_text import read_title, title_prompt, title_request
from chatd.turns.titles import TITLE_SECONDS, title_models

log = structlog.get_logger(__name__)

_SPOKEN = (Role.USER, Role.ASSISTANT, Role.TOOL)


def is_new(chat: Chat) -> bool:
    """Tell from the row alone whether nothing was said since its creation, or since an edit.

    Every message that comes later moves `history_version`; so later turns ask the database nothing.
    """
    return chat.history_version in (1, chat.refresh_version)


async def make_first_title(chat: Chat, ask: Asker, its_time: Callable[[], Awaitable[None]]) -> None:
    """Give a new chat a title, if it should have one: one question of a person, not named yet.

    Whether it should is looked up at once; models are asked when `its_time` has come.
    """
    question = await in_database_thread(_question, chat)
    if question is None:
        return
    await its_time()
    made = await ask(question, seconds=TITLE_SECONDS)
    stored = await in_database_thread(
        store_first_title, chat.pk, made.text, instead_of=chat.title, costs=made.costs
    )
    log.info("first title", stored=stored)


def _question(chat: Chat) -> Question | None:
    asked = unnamed_question(chat.pk, chat.title)
    prompt = title_prompt([asked]) if asked else None
    if prompt is None:
        return None
    return Question(
        chat=chat,
        request=title_request(prompt),
        asked=candidates(title_models(chat)),
        read=read_title,
        kind=DebugRunKind.TITLE_GENERATION,
        call_kind=CallKind.TITLE,
        is_recorded=debug_logging_of(chat.owner_id).enabled,
    )


def unnamed_question(chat_id: UUID, title: str) -> ChatMessage | None:
    """Return the only message of a chat if a person wrote it and it is the title so far.

    None when more was said, when it has no text, or when the chat has been named.
    """
    spoken = list(visible_messages(chat_id).filter(role__in=_SPOKEN).order_by("id")[:2])
    if len(spoken) != 1 or spoken[0].role != Role.USER:
        return None
    content = spoken[0].content
    if not text_of(content).strip():
        return None
    return spoken[0] if not title.strip() or title == initial_title(content) else None
