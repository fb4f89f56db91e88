"""The label of a turn that has ended well: what a list says about it.

Belongs here: the way from the last answer to the stored label. Does not belong here: the words
(`label_text`), fixed words of other ends (`chats.moves`), when it is started (`side_calls`).
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chatd.chats.debug_models import DebugRunKind
from chatd.chats.models import Chat, Role
from chatd.chats.new_messages import NewMessage
from chatd.chats.parts import text_of
from chatd.chats.selectors import visible_messages
from chatd.chats.summaries import FINISHED, store_summary
from chatd.core.threads import in_database_thread
from chatd.preferences.debug_logging import debug_logging_of
from chatd.spending.ledger_models import CallKind
from chatd.turns.label_text import label_request, read_label
from chatd.turns.short_calls import Asker, Question, candidates
from chatd.turns.titles import label_models

LABEL_SECONDS = 30.0


async def make_label(chat_id: UUID, ended_at: datetime, ask: Asker) -> None:
    """Label a turn that ended at `ended_at`, in fixed words when no model has better ones.

    A chat that has moved on meanwhile is left alone.
    """
    label: str = FINISHED
    costs: Sequence[NewMessage] = ()
    try:
        question = await in_database_thread(_question, chat_id, ended_at)
        if question is not None:
            made = await ask(question, seconds=LABEL_SECONDS)
            label, costs = made.text or label, made.costs
    finally:  # also when the process stops: what stands there is of an earlier turn
        await in_database_thread(store_summary, chat_id, label, ended_at=ended_at, costs=costs)


def _question(chat_id: UUID, ended_at: datetime) -> Question | None:
    """Return what to ask about the last answer; None when there is nothing to ask."""
    chat = Chat.objects.filter(pk=chat_id, updated_at=ended_at).first()
    if chat is None:
        return None
    text = last_words(chat_id)
    if not text:
        return None
    return Question(
        chat=chat,
        request=label_request(chat.title, text),
        asked=candidates(label_models(chat)),
        read=read_label,
        kind=DebugRunKind.QUICKGEN,
        call_kind=CallKind.LABEL,
        is_recorded=debug_logging_of(chat.owner_id).enabled,
    )


def last_words(chat_id: UUID) -> str:
    """Return the text of the last answer, blank when it has none; a compaction is no answer."""
    answers = visible_messages(chat_id).filter(role=Role.ASSISTANT, compressed=False)
    answer = answers.order_by("-id").first()
    return text_of(answer.content).strip() if answer else ""
