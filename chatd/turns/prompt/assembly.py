"""The order of a prompt (engine 7.1): stored system texts, inserted ones, the conversation.

Inserted texts are not stored. They stand in this order: the instruction of a sub-agent, the block
about the workspace, the index of skills, the person's own instructions, overlays of modes, the
guidance of an advisor. The block is made here; what stands behind it comes as `inserts`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from uuid import UUID

from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.llm.types import Message, SystemMessage
from chatd.turns.attachments import Block
from chatd.turns.prompt.context import workspace_block
from chatd.turns.prompt.conversion import messages_of
from chatd.turns.prompt.repair import repaired

PLAN_PATH_PLACEHOLDER = "{{CODER_CHAT_PLAN_FILE_PATH_BLOCK}}"


def prompt_from(
    rows: Iterable[PromptRow], files: Mapping[UUID, Block], inserts: Sequence[str] = ()
) -> tuple[Message, ...]:
    """Return the request messages for stored rows, oldest first, with every call answered.

    `files` are those that the rows name, by id. `inserts` are texts that are not stored: system
    messages behind those that open the chat, blank ones left out.
    """
    rows = list(rows)
    said = _conversation(rows)
    messages = repaired(message for row in said for message in messages_of(row, files))
    opening = sum(1 for _ in takewhile(lambda each: isinstance(each, SystemMessage), messages))
    texts = [text.strip() for text in (workspace_block(rows), *inserts)]
    messages[opening:opening] = [SystemMessage(text=text) for text in texts]
    return tuple(found for message in messages if (found := _completed(message)))


def user_instructions(prompt: str) -> str:
    """Return a person's own instructions as the model is to see them; nothing for none."""
    text = prompt.strip()
    return f"<user-instructions>\n{text}\n</user-instructions>" if text else ""


def _conversation(rows: Sequence[PromptRow]) -> list[PromptRow]:
    """Leave out what stands before a summary, except system messages."""
    start = next((at for at, row in enumerate(rows) if row.is_summary), 0)
    return [row for at, row in enumerate(rows) if at >= start or row.role == Role.SYSTEM]


def _completed(message: Message) -> Message | None:
    """Return a system message without the mark of a plan's path; None if it is blank.

    No chat has a plan file, so nothing takes the place of the mark.
    """
    if not isinstance(message, SystemMessage):
        return message
    text = message.text.replace(PLAN_PATH_PLACEHOLDER, "")
    return SystemMessage(text=text) if text.strip() else None
