"""Text as the words that a search compares: without letter case, accents and punctuation.

Both databases get the words from here instead of splitting texts themselves, so that a search
finds the same on both. Scripts that are written without spaces count every letter as a word.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice

MAX_INDEXED_CHARACTERS = 256 * 1024
"""Of one text; what stands behind it is not found."""

MAX_WORD = 64
"""Longer words (hashes, keys, encoded data) are cut to this on both sides of the comparison."""

_MIN_PREFIX = 3
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_SPACELESS}]|(?:[^\W_{_SPACELESS}][\u0300-\u036f]*)+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in their order."""
    return [word for word, *_ in _words(text[:MAX_INDEXED_CHARACTERS])]


def search_phrases(text: str) -> list[list[str]]:
    """Return what must be found: a phrase of words for each run of characters without a space."""
    return [words for run in text.split() if (words := words_of(run))]


def may_be_longer(word: str) -> bool:
    """True when the last word of a phrase also finds words that begin with it."""
    return len(word) >= _MIN_PREFIX


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each word with the positions at which it begins and ends."""
    for match in _WORD.finditer(text):
        folded = _fold(match[0])
        is_whole = folded.isascii() and folded.isalnum()
        for piece in (folded,) if is_whole else _WORD.findall(folded):
            yield piece[:MAX_WORD], match.start(), match.end()


def _fold(word: str) -> str:
    if word.isascii():
        return word.lower()
    # What stands for a capital letter is one only once it is taken apart.
    bare = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", word).casefold())
    return "".join(letter for letter in bare if not unicodedata.combining(letter))


SNIPPET_CHARACTERS = 200
_LEAD = 60
_MAX_HITS = 200
_SPACE = re.compile(r"\s+")


def snippet(text: str, phrases: Sequence[Sequence[str]]) -> str:
    """Return the stretch of a text that has most of the phrases, on one line.

    "…" stands where the text goes on. Empty when nothing of the phrases is in the text.
    """
    found = islice(_hits(text[:MAX_INDEXED_CHARACTERS], phrases), _MAX_HITS)
    hits = [(begin, number) for begin, _, number in found]
    if not hits:
        return ""
    start = max((position for position, _ in hits), key=lambda at: _fit(hits, at))
    begin = _word_border(text, max(0, start - _LEAD), start)
    end = begin + SNIPPET_CHARACTERS
    shown = " ".join(text[begin:end].split())
    return f"{'…' if begin else ''}{shown}{'…' if end < len(text) else ''}"


def highlighted(text: str, phrases: Sequence[Sequence[str]]) -> list[tuple[str, bool]]:
    """Return a text in pieces, each with whether a search found it."""
    pieces, done = [], 0
    for begin, end, _ in _hits(text, phrases):
        if begin >= done:
            pieces += [(text[done:begin], False), (text[begin:end], True)]
            done = end
    pieces.append((text[done:], False))
    return [(piece, is_hit) for piece, is_hit in pieces if piece]


def _hits(text: str, phrases: Sequence[Sequence[str]]) -> Iterator[tuple[int, int, int]]:
    """Yield where in the text a phrase begins and ends, and which one it is."""
    found = list(_words(text))
    words = [word for word, *_ in found]
    for index, (_, begin, _) in enumerate(found):
        for number, phrase in enumerate(phrases):
            if _stands_at(words, index, phrase):
                yield begin, found[index + len(phrase) - 1][2], number


def _stands_at(words: Sequence[str], index: int, phrase: Sequence[str]) -> bool:
    *first, last = phrase
    end = index + len(first)
    if end >= len(words) or words[index:end] != first:
        return False
    return words[end] == last or (may_be_longer(last) and words[end].startswith(last))


def _fit(hits: Sequence[tuple[int, int]], start: int) -> tuple[int, int]:
    """Return how many phrases a snippet from `start` would show, and how closely (negative)."""
    end = start + SNIPPET_CHARACTERS - _LEAD
    first = {number: position for position, number in reversed(hits) if start <= position < end}
    return len(first), start - max(first.values())


def _word_border(text: str, begin: int, start: int) -> int:
    """Return a position from `begin` on where a word begins, at most `start`."""
    if begin == 0 or text[begin - 1].isspace():
        return begin
    space = _SPACE.search(text, begin, start)
    return space.end() if space else begin
