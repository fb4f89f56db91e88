"""Words of texts: what counts as one, what is equal, and the stretch that a search shows."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.core.words import (
    MAX_WORD,
    SNIPPET_CHARACTERS,
    highlighted,
    search_phrases,
    snippet,
    words_of,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Deploy the API, now!", ["deploy", "the", "api", "now"]),
        ("snake_case and kebab-case", ["snake", "case", "and", "kebab", "case"]),
        ("src/main.py:42", ["src", "main", "py", "42"]),
        ("Straße", ["strasse"]),
        ("résumé", ["resume"]),
        (unicodedata.normalize("NFD", "résumé"), ["resume"]),
        ("ﬁne ½", ["fine", "1", "2"]),
        ("\N{MATHEMATICAL BOLD SCRIPT CAPITAL A}lpha", ["alpha"]),
        ("数据库 ok", ["数", "据", "库", "ok"]),
        ("연결", [unicodedata.normalize("NFKD", "연결")]),
        ("!!! ???", []),
        ("a\x00b @mark", ["a", "b", "mark"]),
        ("x" * 100, ["x" * MAX_WORD]),
    ],
)
def test_a_text_is_the_words_in_it(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_what_is_written_without_a_space_is_searched_as_one_phrase() -> None:
    assert search_phrases("main.py  数据 and -") == [["main", "py"], ["数", "据"], ["and"]]


@given(st.text(max_size=60))
def test_words_have_nothing_that_means_something_to_an_index_and_stay_themselves(
    text: str,
) -> None:
    words = words_of(text)
    assert not set("".join(words)) & set(string.punctuation + string.whitespace)
    assert words_of(" ".join(words)) == words


LONG = "Before. " * 40 + "The quick brown fox jumps over the lazy dog. " + "After. " * 60


@pytest.mark.parametrize("search", ["fox", "quick lazy", "JUMPS", "brow", "fox. jumps"])
def test_a_snippet_shows_the_words_with_what_stands_around_them(search: str) -> None:
    shown = snippet(LONG, search_phrases(search))
    assert "quick brown fox jumps over the lazy dog" in shown
    assert shown.startswith("…Before.")
    assert shown.endswith("…")
    assert len(shown) <= SNIPPET_CHARACTERS + 2


def test_a_snippet_is_taken_where_most_of_the_words_stand() -> None:
    text = "cat. " * 80 + "The cat met a dog. " + "cat. " * 80
    assert "met a dog" in snippet(text, search_phrases("dog cat"))


def test_a_short_text_is_shown_whole_on_one_line() -> None:
    assert snippet("one\n\ntwo\tthree", search_phrases("two")) == "one two three"


def test_a_text_without_the_words_has_no_snippet() -> None:
    assert snippet("one two", search_phrases("twofold")) == ""
    assert snippet("ends with main", search_phrases("main.py")) == ""


@given(st.text(max_size=80), st.text(min_size=1, max_size=10))
def test_a_snippet_is_there_for_every_text_with_the_phrase(text: str, search: str) -> None:
    phrases = search_phrases(search)
    assert len(phrases) == 0 or snippet(f"{text} {search} {text}", phrases)


def test_what_was_found_is_highlighted_as_it_is_written() -> None:
    shown = highlighted("See Main.py, or domain.py; MAINLY.", search_phrases("main.py mainl"))
    assert shown == [
        ("See ", False),
        ("Main.py", True),
        (", or domain.py; ", False),
        ("MAINLY", True),
        (".", False),
    ]


@given(st.text(max_size=80), st.text(max_size=10))
def test_highlighting_changes_nothing_of_a_text(text: str, search: str) -> None:
    assert "".join(piece for piece, _ in highlighted(text, search_phrases(search))) == text
