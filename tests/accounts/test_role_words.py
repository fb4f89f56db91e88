"""What pages and documentation say of roles is the same, and covers all of them."""

import re
from pathlib import Path

from chatd.accounts.policy import ALL_ROLES
from chatd.accounts.role_words import ROLE_WORDS, role_label, roles_in_words

DOCS = Path(__file__).resolve().parents[2] / "docs" / "operating.md"


def test_every_role_has_words() -> None:
    assert set(ROLE_WORDS) == ALL_ROLES


def test_the_table_of_roles_in_the_docs_says_the_same_as_the_pages() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| ([^|]+) \|$", DOCS.read_text(), re.MULTILINE)
    assert {role: words.replace("`", "") for role, words in rows} == ROLE_WORDS


def test_roles_are_named_by_their_labels() -> None:
    assert roles_in_words(["owner", "organization-admin"]) == "Site owner, Organisation admin"
    assert role_label("of-another-time") == "of-another-time"
