"""The words of a compaction: what the model is asked for, and how its summary goes on.

Pure functions. Does not belong here: when history is summarised, the call, storing.
"""

from collections.abc import Sequence
from dataclasses import replace

from chatd.llm.types import Message, TextBlock, ToolMessage, UserMessage

MAX_SUMMARY = 128 * 1024
"""Characters of a summary: it is shown as one message, and begins every prompt after it."""

CHARACTERS_PER_TOKEN = 4
"""Of plain text, as models count it; other text takes more tokens, so this estimates low."""

_LEAST_KEPT = 200
_CUT = "\n[The rest of this tool result was left out here.]"
_SUMMARY_CUT = "\n\n[The summary was cut here.]"

INSTRUCTION = """Stop here and write a hand-over note about this conversation. It will replace \
everything above: whoever goes on with the work has this note and nothing else. Do not answer the \
user, do not call tools, and write nothing but the note. Be dense and factual; short lists are \
better than prose. Cover, in this order:

1. Goal: what the user wants, with every requirement, preference and limit they gave.
2. Decisions: what was decided, and why; what was ruled out.
3. Facts: names, paths, commands, addresses, identifiers, versions, values and signatures that the \
work depends on, exactly as they are.
4. Errors: each error that mattered, its exact cause and the fix that worked. Tie it to its case: \
one failed call is no reason to stay away from a tool.
5. State: what is done, what is under way, what remains.
6. Next: the action that was being taken right now, so that it can be taken up without repeating \
what is done.

Do not copy what can be had again: name the file or the command instead."""

PREFIX = (
    "The conversation before this point was summarised to make room; its summary follows. You were"
    " in the middle of the work it describes: go on with it from where the summary ends, without"
    " starting over and without mentioning the summary."
)


def summary_prompt(messages: Sequence[Message], *, excess_tokens: int = 0) -> tuple[Message, ...]:
    """Return the prompt that asks for a summary of `messages`.

    Where they are too long by `excess_tokens`, the longest tool results are cut.
    """
    asked = UserMessage(blocks=(TextBlock(text=INSTRUCTION),))
    return (*_fitted(messages, excess_tokens * CHARACTERS_PER_TOKEN), asked)


def text_for_model(summary: str) -> str:
    """Return the message that stands for what was summarised."""
    return f"{PREFIX}\n\n{summary}"


def cleaned_summary(answer: str, *, context_limit: int) -> str:
    """Return the summary of an answer, empty when there is none.

    Not even one that never ends takes more than half of the context.
    """
    text = answer.strip()
    room = min(MAX_SUMMARY, context_limit * CHARACTERS_PER_TOKEN // 2)
    return text if len(text) <= room else text[:room].rstrip() + _SUMMARY_CUT


def _fitted(messages: Sequence[Message], excess: int) -> tuple[Message, ...]:
    """Return the messages with long tool results cut, until `excess` characters are gone."""
    sizes = [
        len(result.output)
        for message in messages
        if isinstance(message, ToolMessage)
        for result in message.results
    ]
    kept = max(sizes, default=0)
    if excess <= 0 or kept <= _LEAST_KEPT:
        return tuple(messages)
    while sum(size - kept for size in sizes if size > kept) < excess and kept > _LEAST_KEPT:
        kept = max(kept // 2, _LEAST_KEPT)
    return tuple(_cut(message, kept) for message in messages)


def _cut(message: Message, kept: int) -> Message:
    if not isinstance(message, ToolMessage):
        return message
    return replace(
        message,
        results=tuple(
            replace(result, output=result.output[:kept] + _CUT)
            if len(result.output) > kept
            else result
            for result in message.results
        ),
    )
