"""The grammar of a search: what each term becomes, and what is told about the others."""

import pytest

from chatd.chats.filters import ALL_ACTIVE, ChatFilter, parse_filter
from chatd.core.errors import ChatdError, ErrorCode


def violations(query: str) -> list[tuple[str, str]]:
    with pytest.raises(ChatdError) as caught:
        parse_filter(query, [])
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert caught.value.message == "Invalid chat search query."
    return [(entry.field, entry.detail) for entry in caught.value.validations]


@pytest.mark.parametrize("query", ["", " ", "    ", "\x00", 'title:""', "archived:false"])
def test_nothing_wanted_is_every_active_chat(query):
    assert parse_filter(query, []) == ALL_ACTIVE


FOUND = {
    "title:Oslo": {"title": "Oslo"},
    "TiTlE:Oslo": {"title": "Oslo"},
    'title:"the weather"': {"title": "the weather"},
    '"title":"a:b:c"': {"title": "a:b:c"},
    'title:the" "weather': {"title": "the weather"},
    'title:"open to the end': {"title": "open to the end"},
    'title:":"': {"title": ":"},
    "title:50%_off\\": {"title": "50%_off\\"},
    "title:a\x00b": {"title": "ab"},
    "title:\u00c5lesund": {"title": "\u00c5lesund"},
    "title:a\tb": {"title": "a\tb"},
    "has_unread:1": {"has_unread": True},
    "has_unread:F": {"has_unread": False},
    "pr_status:open": {"pr_status": ("open",)},
    "pr_status:Merged,CLOSED": {"pr_status": ("merged", "closed")},
    'pr_status:"draft, open"': {"pr_status": ("draft", "open")},
    "pr_status:open pr_status:draft": {"pr_status": ("open", "draft")},
    'diff_url:"https://host/a/pull/1"': {"diff_url": "https://host/a/pull/1"},
    'diff_url:"http://HOST/A?x=1#y"': {"diff_url": "http://HOST/A?x=1#y"},
    "pr:1": {"pr": 1},
    "pr:007": {"pr": 7},
    "pr:2147483647": {"pr": 2147483647},
    "repo:acme/Shop": {"repo": "acme/Shop"},
    "pr_title:fix": {"pr_title": "fix"},
    "  title:a   archived:T  ": {"title": "a", "archived": True},
}


@pytest.mark.parametrize("query", FOUND)
def test_a_term_is_a_key_and_a_value(query):
    assert parse_filter(query, []) == ChatFilter(**FOUND[query])


@pytest.mark.parametrize("value", ["1", "t", "T", "true", "True", "TRUE"])
def test_six_words_are_true(value):
    assert parse_filter(f"archived:{value}", []).archived is True


@pytest.mark.parametrize("value", ["0", "f", "F", "false", "False", "FALSE"])
def test_six_words_are_false(value):
    assert parse_filter(f"archived:{value}", []).archived is False


@pytest.mark.parametrize("key", ["archived", "has_unread"])
@pytest.mark.parametrize("value", ["yes", "no", "tRUE", "2", "null", "any", '""', "on"])
def test_no_other_word_is_a_boolean(key, value):
    shown = value.replace('"', "")
    assert violations(f"{key}:{value}") == [
        (key, f'Query param "{key}" must be a valid boolean: invalid value "{shown}"')
    ]


@pytest.mark.parametrize("value", ["0", "-1", "+1", "1.5", "x", "2147483648", "9" * 5000, "\u0661"])
def test_a_pull_request_is_a_positive_number(value):
    assert violations(f"pr:{value}") == [
        ("pr", f'Query param "pr" must be a valid positive 32-bit integer: invalid value "{value}"')
    ]


@pytest.mark.parametrize(
    "value",
    ["ftp://host/a", "/a/b", "host/a", "https://", "http:///a", "http://[", "javascript://x", ""],
)
def test_a_diff_url_is_absolute(value):
    assert violations(f'diff_url:"{value}"') == [
        (
            "diff_url",
            'Query param "diff_url" must be a valid URL: expected an absolute http or https URL',
        )
    ]


@pytest.mark.parametrize(("value", "bad"), [("gone", "gone"), ("open,", ""), ("open,Up", "up")])
def test_a_state_of_a_pull_request_is_one_of_four(value, bad):
    assert violations(f"pr_status:{value}") == [
        (
            "pr_status",
            f'Query param "pr_status" must be a valid pull request status: invalid value "{bad}"'
            " (expected one of draft, open, merged, closed)",
        )
    ]


@pytest.mark.parametrize("key", ["source", "owner", "label", "x", "q"])
def test_an_unknown_key_is_told(key):
    assert violations(f"{key}:1") == [(key, f'"{key}" is not a valid query param')]


@pytest.mark.parametrize("key", ["archived", "has_unread", "title", "diff_url", "pr", "repo"])
def test_a_key_with_one_value_is_given_once(key):
    value = '"https://host/a"' if key == "diff_url" else "1"
    assert violations(f"{key}:{value} {key.upper()}:{value} {key}:{value}") == [
        (
            key,
            f'Query param "{key}" provided more than once, found 3 times.'
            " Only provide 1 instance of this query param.",
        )
    ]


@pytest.mark.parametrize("element", [":", ":a", "a:", "::", "title:", ":title:a", '"a":'])
def test_a_term_neither_starts_nor_ends_with_a_colon(element):
    assert violations(element) == [
        ("q", f'Query element "{element}" cannot start or end with a colon')
    ]


@pytest.mark.parametrize("element", ["a:b:c", "title::a", "diff_url:https://host/a", 'a:"b":c'])
def test_a_term_has_one_unquoted_colon(element):
    assert violations(element) == [
        ("q", f'Query element "{element}" can only contain 1 unquoted colon')
    ]


def test_bare_words_are_told_together():
    assert violations('the "big red" title:a bus') == [
        ("q", 'unsupported search term: "the big red bus"')
    ]


def test_empty_quotes_are_a_bare_word():
    assert violations('""') == [("q", 'unsupported search term: ""')]


def test_a_key_inside_quotes_is_a_bare_word():
    assert violations('"title:the weather"') == [
        ("q", 'unsupported search term: "title:the weather"')
    ]


def test_everything_wrong_is_told_at_once():
    found = violations("a: archived:maybe nothing:1 pr:x pr_status:x word b:c:d")
    assert sorted(field for field, _ in found) == [
        "archived",
        "nothing",
        "pr",
        "pr_status",
        "q",
        "q",
        "q",
    ]


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        ([], {}),
        (["team:core"], {"team": "core"}),
        (["team:core:x"], {"team": "core:x"}),
        (["team:core", "env:prod"], {"team": "core", "env": "prod"}),
        (["team:core", "team:web"], {"team": "web"}),
        (["1:one"], {"1": "one"}),
        ([" a : b "], {" a ": " b "}),
    ],
)
def test_a_label_is_split_at_the_first_colon_and_the_last_value_of_a_key_counts(labels, pairs):
    assert parse_filter("", labels).labels == pairs


@pytest.mark.parametrize("raw", ["", ":", "team", "team:", ":core", "::"])
def test_a_label_without_a_key_or_a_value_is_refused(raw):
    with pytest.raises(ChatdError) as caught:
        parse_filter("", ["good:one", raw])
    assert caught.value.body() == {
        "message": f'Invalid label filter: "{raw}"'
        " (expected format key:value, both must be non-empty)"
    }


def test_the_query_is_checked_before_the_labels():
    with pytest.raises(ChatdError) as caught:
        parse_filter("word", ["bad"])
    assert caught.value.message == "Invalid chat search query."
