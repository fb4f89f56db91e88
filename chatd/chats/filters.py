"""What a list of chats is narrowed to: the grammar of `q`, the `label` parameter, and the query.

`q` is a list of `key:value` terms separated by spaces; double quotes protect spaces and colons.
All terms must match.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from django.db import connection
from django.db.models import Exists, Func, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.lookups import Exact

from chatd.chats.models import Chat, ChatDiffStatus
from chatd.core.errors import Validation, bad_request, given_repeatedly
from chatd.core.fields import escape_nul
from chatd.core.words import search_phrases

_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})
_PR_STATES = ("draft", "open", "merged", "closed")
_MAX_INT32 = 2**31 - 1
MAX_SEARCH_WORDS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFilter:
    """A parsed filter; None and empty mean "not narrowed". `text` is searched by `search`."""

    archived: bool = False
    has_unread: bool | None = None
    title: str = ""
    text: str = ""
    pr_status: tuple[str, ...] = ()
    diff_url: str = ""
    pr: int | None = None
    repo: str = ""
    pr_title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


ALL_ACTIVE = ChatFilter()


class _BadValueError(Exception):
    """The value of a term cannot be used; the text says what would be."""


def _boolean(value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise _BadValueError(f'must be a valid boolean: invalid value "{value}"')


def _words(value: str) -> str:
    phrases = search_phrases(value)
    if value and not phrases:
        raise _BadValueError("must contain a letter or a digit")
    if len(phrases) > MAX_SEARCH_WORDS:
        raise _BadValueError(f"must have at most {MAX_SEARCH_WORDS} words")
    return value


def _states(value: str) -> tuple[str, ...]:
    states = tuple(part.strip().lower() for part in value.split(","))
    for state in states:
        if state not in _PR_STATES:
            allowed = ", ".join(_PR_STATES)
            raise _BadValueError(
                f'must be a valid pull request status: invalid value "{state}"'
                f" (expected one of {allowed})"
            )
    return states


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise _BadValueError("must be a valid URL: expected an absolute http or https URL")
    return value


def _pull_request(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", value) or not 0 < int(value) <= _MAX_INT32:
        raise _BadValueError(f'must be a valid positive 32-bit integer: invalid value "{value}"')
    return int(value)


_READERS: Mapping[str, Callable[[str], object]] = {
    "archived": _boolean,
    "has_unread": _boolean,
    "title": str,
    "text": _words,
    "pr_status": _states,
    "diff_url": _url,
    "pr": _pull_request,
    "repo": str,
    "pr_title": str,
}
_REPEATABLE = frozenset({"pr_status"})
"""A list: given twice is as given once with a comma between."""


def parse_filter(query: str, labels: Sequence[str]) -> ChatFilter:
    """Return the filter of a list request. Raises ChatdError 400."""
    found = _parse_query(query)
    return replace(found, labels=_parse_labels(labels))


def parse_search(text: str) -> ChatFilter:
    """Return the filter of a search box, in which everything is text. Raises ChatdError 400."""
    try:
        return ChatFilter(text=_words(text))
    except _BadValueError as error:
        raise bad_request(f"The search {error}.") from None


def _parse_query(query: str) -> ChatFilter:
    wrong: list[Validation] = []
    given: dict[str, list[str]] = {}
    for key, value in _terms(query.replace("\x00", ""), wrong):
        given.setdefault(key, []).append(value)
    values: dict[str, object] = {}
    for key, texts in given.items():
        reader = _READERS.get(key)
        if reader is None:
            wrong.append(Validation(key, f'"{key}" is not a valid query param'))
        elif len(texts) > 1 and key not in _REPEATABLE:
            wrong.append(given_repeatedly(key, len(texts)))
        else:
            try:
                values[key] = reader(",".join(texts))
            except _BadValueError as error:
                wrong.append(Validation(key, f'Query param "{key}" {error}'))
    if wrong:
        raise bad_request("Invalid chat search query.", validations=wrong)
    return ChatFilter(**values)  # type: ignore[arg-type]


def _terms(query: str, wrong: list[Validation]) -> list[tuple[str, str]]:
    """Split into key and value; what is neither is collected in `wrong`."""
    terms, bare = [], []
    for element in filter(None, _split(query, " ")):
        parts = _split(element, ":")
        if element.startswith(":") or element.endswith(":"):
            wrong.append(
                Validation("q", f'Query element "{element}" cannot start or end with a colon')
            )
        elif len(parts) == 1:
            bare.append(element.replace('"', ""))
        elif len(parts) > 2:
            wrong.append(
                Validation("q", f'Query element "{element}" can only contain 1 unquoted colon')
            )
        else:
            terms.append((parts[0].replace('"', "").lower(), parts[1].replace('"', "")))
    if bare:
        wrong.append(Validation("q", f'unsupported search term: "{" ".join(bare)}"'))
    return terms


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator outside double quotes."""
    pieces, quoted = [""], False
    for character in text:
        if character == '"':
            quoted = not quoted
        if character == separator and not quoted:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def _parse_labels(labels: Sequence[str]) -> dict[str, str]:
    """Return the label pairs, split at the first colon; a repeated key keeps the last value."""
    pairs: dict[str, str] = {}
    for raw in labels:
        key, colon, value = raw.partition(":")
        if not (key and colon and value):
            raise bad_request(
                f'Invalid label filter: "{raw}" (expected format key:value, both must be non-empty)'
            )
        pairs[key] = value
    return pairs


def apply_filter(chats: QuerySet[Chat], wanted: ChatFilter) -> QuerySet[Chat]:
    """Narrow chats that are annotated with `unread`."""
    chats = chats.filter(archived=wanted.archived)
    if wanted.has_unread is not None:
        chats = chats.filter(Q(unread=wanted.has_unread))
    if wanted.title:
        chats = chats.filter(_contains("title", wanted.title))
    if wanted.labels:
        chats = _with_labels(chats, wanted.labels)
    return _by_pull_request(chats, wanted)


def _contains(column: str, text: str) -> Q:
    """Match a part of a column, whatever the letter case."""
    if connection.vendor == "sqlite":  # its LIKE knows the case of ASCII letters alone
        return Q(**{f"{column}__iregex": re.escape(text)})
    return Q(**{f"{column}__icontains": text})


def _with_labels(chats: QuerySet[Chat], labels: Mapping[str, str]) -> QuerySet[Chat]:
    if connection.vendor == "postgresql":
        return chats.filter(labels__contains=dict(labels))  # the GIN index answers this
    if any('"' in key or "\x00" in key for key in labels):
        return chats.none()  # no key of a label has one
    for key, value in labels.items():
        # Django takes a key of digits for the index of a list, so the path is written here.
        path = Value(f'$."{key}"')
        label = Func("labels", path, function="JSON_EXTRACT", output_field=TextField())
        chats = chats.filter(Exact(label, escape_nul(value)))
    return chats


def _by_pull_request(chats: QuerySet[Chat], wanted: ChatFilter) -> QuerySet[Chat]:
    own = Q()
    if wanted.pr_status:
        own &= _any_state(wanted.pr_status)
    if wanted.pr is not None:
        own &= Q(pr_number=wanted.pr)
    if wanted.repo:
        own &= _contains("git_remote_origin", wanted.repo) | _contains("url", wanted.repo)
    if wanted.pr_title:
        own &= _contains("pull_request_title", wanted.pr_title)
    if own:
        chats = chats.filter(Exists(ChatDiffStatus.objects.filter(own, chat_id=OuterRef("pk"))))
    if wanted.diff_url:
        family = Q(chat_id=OuterRef("pk")) | Q(chat__root_chat_id=OuterRef("pk"))
        chats = chats.filter(
            Exists(ChatDiffStatus.objects.filter(family, url__iexact=wanted.diff_url))
        )
    return chats


def _any_state(states: Sequence[str]) -> Q:
    matches = Q()
    for state in states:
        match state:
            case "draft":
                matches |= Q(pull_request_state="open", pull_request_draft=True)
            case "open":
                matches |= Q(pull_request_state="open", pull_request_draft=False)
            case _:
                matches |= Q(pull_request_state=state)
    return matches
