"""Checks of what people are called and called by; all that is wrong is told at once."""

import re
from collections.abc import Collection, Iterable
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from chatd.core.errors import ChatdError, ErrorCode, Validation, bad_request

SLUG = re.compile(r"[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*")
MAX_USERNAME = 32
MAX_EMAIL = 254
MAX_NAME = 128
MAX_URL = 512

ME = "me"
"""The caller, in a path."""

RESERVED_USERNAMES = frozenset({ME, "login", "logout"})
"""They mean something else in a path."""

_TAKEN = "This value is already in use and should be unique."
_TAKEN_ADVICE = "is already in use; choose another."


class Findings:
    """Collects what is wrong with the fields of a request; `check` refuses them together."""

    def __init__(self) -> None:
        self._found: list[Validation] = []

    def add(self, field: str, rule: str, value: str, advice: str) -> None:
        """Note a broken rule. `value` is shown, so it must be no secret."""
        wrong = f'Validation failed for tag "{rule}" with value: "{value}"'
        self._found.append(Validation(field, f"{wrong}: {advice}", advice))

    def check(self) -> None:
        """Raise the 400 when anything was wrong."""
        if self._found:
            raise bad_request("Validation failed.", validations=self._found)

    def username(self, value: str) -> None:
        """Check what a person is called in paths; what would be read as an id is no name."""
        self.slug("username", value, most=MAX_USERNAME, reserved=RESERVED_USERNAMES)

    def slug(self, field: str, value: str, *, most: int, reserved: Collection[str] = ()) -> None:
        """Check a name that stands in paths."""
        if len(value) > most or not SLUG.fullmatch(value):
            rule = f"must be 1 to {most} letters, digits and single dashes, no dash at an end."
            self.add(field, field, value[: most + 1], rule)
        elif value.lower() in reserved or _is_uuid(value):
            self.add(field, field, value, "would be read as something else.")

    def email(self, value: str) -> None:
        try:
            validate_email(value)
        except ValidationError:
            self.add("email", "email", value[:MAX_EMAIL], "must be an e-mail address.")
        else:
            self.text("email", value, most=MAX_EMAIL)

    def text(self, field: str, value: str, *, most: int = MAX_NAME) -> None:
        """Check free text of one line or more."""
        if len(value) > most:
            self.add(field, "max", f"{value[:20]}…", f"must be at most {most} characters.")
        if "\x00" in value:
            self.add(field, "text", value.replace("\x00", "\\0"), "must hold no NUL character.")

    def one_of(self, field: str, value: str, allowed: Collection[str]) -> None:
        if value not in allowed:
            self.add(field, "oneof", value[:64], f"must be one of {', '.join(sorted(allowed))}.")

    def each_of(self, field: str, values: Iterable[str], allowed: Collection[str]) -> None:
        for value in values:
            self.one_of(field, value, allowed)


def check_username(username: str) -> None:
    """Raise the 400 for a name that nobody can have."""
    findings = Findings()
    findings.username(username)
    findings.check()


def taken(message: str, *fields: str) -> ChatdError:
    """Return the 409 for values of fields that belong to somebody else."""
    wrong = [Validation(field, _TAKEN, _TAKEN_ADVICE) for field in fields]
    return ChatdError(ErrorCode.CONFLICT, message, validations=wrong)


def _is_uuid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True
