"""Cleaning texts that people write for models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.core.prompts import sanitize_prompt

REMOVED = [0xAD, 0x34F, 0x61C, 0x180E, 0x200B, 0xFEFF]
REMOVED += [*range(0x200D, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065)]
REMOVED += [*range(0x2066, 0x2070), *range(0xFFF9, 0xFFFC)]


@pytest.mark.parametrize("code", REMOVED, ids=hex)
def test_invisible_characters_are_removed(code: int) -> None:
    assert sanitize_prompt(f"a{chr(code)}b") == "ab"


@pytest.mark.parametrize("code", [0x200C, 0x2029, 0x2065, 0x2070, 0x1F600, 0x0, 0x7F], ids=hex)
def test_other_characters_are_kept(code: int) -> None:
    assert sanitize_prompt(f"a{chr(code)}b") == f"a{chr(code)}b"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a \t\u00a0\n  b ", "a\n  b"),
        ("a\n\n\nb", "a\n\nb"),
        ("a\n \n\u200b\n\t\nb", "a\n\nb"),
        ("a\n\nb\nc", "a\n\nb\nc"),
        (" \n a \n ", "a"),
        ("\u200b", ""),
    ],
)
def test_lines_are_made_regular(raw: str, clean: str) -> None:
    assert sanitize_prompt(raw) == clean


@given(st.text(alphabet=st.sampled_from("ab \t\n\r\u200b\u200c\u2028\x85")))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = sanitize_prompt(text)
    assert sanitize_prompt(once) == once


def test_much_space_inside_a_line_costs_no_more_than_other_characters() -> None:
    """A backtracking pattern would need minutes for this."""
    long = f"a{' ' * 250_000}b"
    assert sanitize_prompt(long) == long
