"""What the offline demo model says.

Belongs here: keywords and texts. Does not belong here: HTTP, pace, tokens.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyword:
    """Words that change the answer when they stand in the last message of the user."""

    name: str
    words: tuple[str, ...]
    effect: str


KEYWORDS: tuple[Keyword, ...] = (
    Keyword(name="reason", words=("reason", "think"), effect="shows its reasoning first"),
    Keyword(name="slow", words=("slow", "slowly"), effect="writes one word every half second"),
    Keyword(name="long", words=("long", "story"), effect="tells a story of about 600 words"),
    Keyword(name="code", words=("code", "function", "python"), effect="answers with a code block"),
    Keyword(name="table", words=("table",), effect="answers with a table"),
    Keyword(name="list", words=("list", "ideas", "steps"), effect="answers with lists"),
    Keyword(name="tool", words=("tool",), effect="calls the first tool the request offers"),
    Keyword(
        name="rate limit",
        words=("rate limit",),
        effect="refuses once with status 429, then answers the retry",
    ),
    Keyword(name="error", words=("error",), effect="fails for good with a readable message"),
)

_PATTERNS = {
    keyword.name: re.compile(
        r"\b(?:" + "|".join(map(re.escape, keyword.words)) + r")\b", re.IGNORECASE
    )
    for keyword in KEYWORDS
}
_GREETING = re.compile(r"^\W*(?:hi|hello|hey|good (?:morning|day|evening))\b", re.IGNORECASE)

ERROR_MESSAGE = (
    "The demo model was asked to fail and did: your message contains the word 'error'. "
    "Leave the word out and send it again."
)
RATE_LIMIT_MESSAGE = "The demo model asks for a pause of two seconds, as you wished."

REASONING = (
    "The message contains a word that asks me to think aloud. A real model would weigh options "
    "here. I am a script, so I look through my short list of answers, pick the one that fits "
    "best, and pretend that it took some effort."
)

GREETING = (
    "Hello! 👋 Good to see that the connection works: these words come one by one from chatd's "
    "**offline demo model**, without any account or network.\n\n"
    "Ask me something, or try `code`, `table` or `think`."
)

CODE = '''Here is a small function with a test, so that there is something to highlight:

```python
def running_mean(values: list[float], window: int) -> list[float]:
    """Return the mean of each run of `window` neighbours."""
    if window < 1:
        raise ValueError("window must be at least 1")
    total = sum(values[:window])
    means = [total / window] if len(values) >= window else []
    for left, right in zip(values, values[window:]):
        total += right - left
        means.append(total / window)
    return means


assert running_mean([1, 2, 3, 4], 2) == [1.5, 2.5, 3.5]
```

It keeps one running total instead of summing every window again, so it needs a single pass over
the values. Try `window=1` (the values themselves) and a window longer than the list (nothing).
'''

TABLE = """A little comparison of places to drink tea:

| Place | Noise | View | Price |
| --- | :-: | --- | --: |
| Kitchen table | low | the neighbour's cat | 0.20 |
| Train window | medium | everything, briefly | 2.80 |
| Mountain hut | wind | **three valleys** | 4.50 |
| Airport gate 14 | high | a vacuum cleaner | 5.90 |

The mountain hut wins on the view, the kitchen on everything else.
"""

LIST = """Three things to try on a quiet afternoon:

1. **Sort one drawer.** Only one.
   - Keep what you used this year.
   - Give away what made you smile but stayed closed.
2. **Write a letter** to somebody who does not expect it.
3. **Walk a way you know** in the other direction:
   - it looks different,
   - and it is shorter than you remember.

Start with the one that needs the least preparation.
"""

QUESTION = (
    "> {question}\n\n"
    "That is a good question, and I am the wrong one to answer it: chatd's offline demo model "
    "is a script with a handful of canned answers.\n\n"
    "What I *can* show is how an answer arrives, how it can be stopped in the middle, and how "
    "the chat looks after a reload. For a real answer, add a provider with its API key and pick "
    "one of its models."
)

TOOL_RESULT = (
    "The tool came back with this:\n\n```\n{result}\n```\n\n"
    "So the whole circle works: I asked for a call, it was carried out, and I got the result."
)

SHORT = "A chat with the demo model"

STORY = (
    """## The keeper and the fog

The lighthouse at Grey Point had a keeper called Ilse, who counted things. She counted the steps
to the lamp (two hundred and eleven), the panes of the lantern (forty-eight), and the ships that
passed at night, each with a pencil stroke in a blue book. She did not need the numbers for
anything. They were simply company, and they never argued.""",
    """One October the fog came and forgot to leave. It lay on the water for a day, then for a week,
and the lamp, which could be seen for nineteen miles in clear weather, lit up a white wall about
as far away as the garden gate. Ilse sounded the horn every two minutes, as the rules demanded.
She slept in pieces. In the blue book the column for ships stayed empty, and that worried her
more than the fog did.""",
    """On the ninth night something answered. It was not a horn. It was a small bell, far out, a
little off the beat, as if somebody rang it with a cold hand. Ilse held her breath and counted:
four strokes, a pause, four strokes. She sounded the horn. The bell came again, slightly to the
left. She opened the window on that side, as though this could help, and the fog came in and sat
down on the chair.""",
    """There is a rule for this, of course. There is a rule for everything in a lighthouse, and
they hang framed beside the stove. The rule said: signal, record, wait. Ilse signalled, recorded
and waited for a quarter of an hour, and then she took the old brass hand lamp, the long rope and
her second-best coat, and went down two hundred and eleven steps without counting a single one of
them.""",
    """The boat was closer than she had thought. It was a mail boat with a stopped engine and a boy
in it, perhaps fourteen, who had been sent across the bay with a bag of letters because his
father had a fever. He had rung the bell for five hours. When the rope landed in his lap he looked
at it as one looks at a word in a foreign language, and then he tied the best knot of his
life.""",
    """Upstairs he drank three cups of tea and told her, as people do after they were afraid,
everything at once: about the engine, about the letters, about a dog called Admiral who could not
swim. Ilse listened and sounded the horn every two minutes. Somewhere after midnight he fell
asleep in the chair the fog had used. She put the second-best coat over him and opened the blue
book.""",
    """She thought for a long time about what to write. A mail boat under tow was not a ship that
passed, and the column was narrow. In the end she made one pencil stroke, a little longer than the
others, and beside it, where nothing was ever written, she put the number of strokes of the bell
as well as she could reckon it. It was a large number. It filled the line to the edge of the
page.""",
    """In the morning the fog was gone, as if it had only been waiting to see how things would end.
The bay lay there, flat and blue and entirely innocent. The boy repaired the engine with a spoon,
thanked her twice, forgot his cap, and rowed the first hundred yards because he did not trust the
spoon. Ilse climbed to the lamp. On the way she counted the steps again, for the company. There
were two hundred and twelve. She went back to the bottom, smiled, and decided not to check.""",
)


_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")


def asked_for(text: str) -> frozenset[str]:
    """Return the names of the keywords that stand in `text`."""
    return frozenset(name for name, pattern in _PATTERNS.items() if pattern.search(text))


_TITLE_WORDS = 6
_TOPIC_AFTER = re.compile(
    r"^\W*(?:(?:please|(?:can|could|would) you|(?:tell|show|give) me|help me(?: to| with)?"
    r"|explain|describe|write|i (?:want|need)(?: to)?|an?|the|some|about)\b\W*)+",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[.!?;:,]+(?:\s|$)|\n")
_LOOSE_END = re.compile(r"(?: (?:an?|the|my|your|in|of|on|at|to|for|from|with|and|or|by))+$", re.I)


def title_of(text: str) -> str:
    """Return up to six words of a message that say what it is about."""
    text = text.strip()
    topic = _TOPIC_AFTER.sub("", text) or text
    words = _CLAUSE_END.split(topic, maxsplit=1)[0].split()[:_TITLE_WORDS]
    title = _LOOSE_END.sub("", " ".join(words))
    return title[:1].upper() + title[1:] or SHORT


_LABELS: Mapping[str, str] = {
    "The lighthouse at Grey Point": "Told a lighthouse story",
    "```python": "Wrote example code",
    "| --- |": "Compared places for tea",
    "Three things to try": "Listed three small ideas",
    "Good to see that the connection works": "Greeted and connected",
    "The tool came back": "Passed on tool result",
    "That is a good question": "Left a question open",
}


def label_of(answer: str) -> str:
    """Return what a turn came to that ended with one of these answers."""
    return next((label for sign, label in _LABELS.items() if sign in answer), "Listed demo words")


def answer_to(text: str, asked: frozenset[str]) -> str:
    """Return the Markdown answer that fits the user's text best."""
    canned = {"long": _unwrapped("\n\n".join(STORY)), "code": CODE, "table": TABLE, "list": LIST}
    for name, answer in canned.items():
        if name in asked:
            return answer
    if _GREETING.match(text):
        return GREETING
    if text.strip().endswith("?"):
        return QUESTION.format(question=" ".join(text.split())[:200])
    return introduction()


def _unwrapped(text: str) -> str:
    """Return `text` with one line per paragraph: readers see it live, before it is rendered."""
    return _LINE_BREAK.sub(" ", text)


def introduction() -> str:
    """Return who the demo model is and every keyword it knows."""
    lines = [
        f"- {' or '.join(f'`{word}`' for word in keyword.words)}: {keyword.effect}"
        for keyword in KEYWORDS
    ]
    return (
        "I am **chatd's offline demo model**: a script that answers like a model, without an "
        "account and without a network. Put one of these words into a message:\n\n"
        + "\n".join(lines)
        + "\n\nWords can be combined, for example `slow code`. You can interrupt me at any time."
    )
