"""Forms as data: one template shows all of them, with label, hint and error tied to each field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.http import QueryDict

from chatd.core.errors import ChatdError, Validation

SECRET = "password"  # noqa: S105 - a type of input
"""The kind of field that never shows what was typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that can be picked; `more` puts it below the others, to be opened first."""

    value: str
    label: str
    hint: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `kind` is the type of an input, or textarea, select, radio, checkboxes, checkbox.

    `values` has what is in it: one text, or for checkboxes those that are ticked.
    """

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    values: Sequence[str] = field(default=(), repr=False)
    options: Sequence[Option] = ()
    required: bool = False
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    errors: Sequence[str] = ()

    @property
    def value(self) -> str:
        return self.values[0] if self.values else ""

    @property
    def has_more(self) -> bool:
        return any(option.more for option in self.options)

    @property
    def has_more_ticked(self) -> bool:
        return any(option.more and option.value in self.values for option in self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of a page, by its `name`: a word, and after a colon what it is about.

    `subject` follows `submit` for who cannot see what the button stands beside. `done` is what was
    done with it just now; a `refusal` that no field is to blame for is shown above the fields.
    """

    name: str
    fields: Sequence[Field]
    submit: str
    subject: str = ""
    about: str = ""
    refusal: ChatdError | None = None
    done: str = ""
    is_primary: bool = True
    is_inline: bool = False

    @property
    def anchor(self) -> str:
        return anchor_of(self.name)

    @property
    def named(self) -> Mapping[str, Field]:
        return {each.name: each for each in self.fields}

    @property
    def general(self) -> ChatdError | None:
        """The refusal, unless its reasons stand beside the fields."""
        return None if any(each.errors for each in self.fields) else self.refusal


def anchor_of(form_name: str) -> str:
    """Return the id of a form on its page."""
    return form_name.replace(":", "-")


def refused(form: Form, posted: QueryDict, refusal: ChatdError, *, blamed: str = "") -> Form:
    """Return a form as it was sent, with the reasons beside their fields.

    `blamed` is the field that reasons belong to which name none.
    """
    known = {each.name for each in form.fields}
    reasons: dict[str, list[str]] = {}
    for entry in refusal.validations:
        reasons.setdefault(entry.field, []).append(_sentence(form, entry))
    if blamed and not known & reasons.keys():
        reasons[blamed] = [" ".join(filter(None, (refusal.message, refusal.detail)))]
    fields = [
        replace(
            each,
            values=() if each.kind == SECRET else posted.getlist(each.name),
            errors=reasons.get(each.name, ()),
        )
        for each in form.fields
    ]
    return replace(form, fields=fields, refusal=refusal)


def _sentence(form: Form, entry: Validation) -> str:
    """Return what a refusal says of a field, as a sentence about its label."""
    named = form.named.get(entry.field)
    if not entry.advice or named is None:
        return entry.detail
    return f"{named.label} {entry.advice}"
