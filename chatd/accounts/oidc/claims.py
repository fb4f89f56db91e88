"""What the claims of a provider mean here. Providers send texts, lists, objects, or nothing."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatd.accounts.validation import MAX_NAME, MAX_USERNAME, Findings
from chatd.core.errors import ChatdError
from config.env import SingleSignOn

MAX_GROUPS = 10_000
"""Values of a groups claim that are looked at; a provider that sends more is told about."""

MAX_GROUP_VALUE = 512
MAX_SHOWN = 200
"""Values that are kept for administrators to look at."""

_NO_WORD = re.compile(r"[^a-zA-Z0-9]+")
_FALLBACK = "person"


@dataclass(frozen=True, slots=True)
class ClaimedGroups:
    """The values of a groups claim; `shown` is None when none came. `notes` are sentences."""

    values: tuple[str, ...] = ()
    shown: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Who a provider says somebody is. No `groups`: they are not the provider's to say."""

    issuer: str
    subject: str
    email: str
    email_verified: bool
    username: str
    name: str
    groups: ClaimedGroups | None


def find_claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim by its name or, when there is none of it, by names with dots between them."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def read_claims(claims: Mapping[str, Any], configured: SingleSignOn) -> Claimed:
    """Return what was claimed; what has the wrong type or does not fit counts as not sent."""
    path = configured.groups_claim
    email = find_claim(claims, configured.email_claim)
    # What the provider says it verified is the standard claim, whichever one addresses come from.
    verified = claims.get("email_verified") in (True, "true") and claims.get("email") == email
    return Claimed(
        issuer=configured.issuer,
        subject=claims["sub"],
        email=_email(email),
        email_verified=verified or configured.trust_emails,
        username=_text(find_claim(claims, configured.username_claim)),
        name=_text(find_claim(claims, configured.name_claim))[:MAX_NAME],
        groups=_groups(claims, path) if path else None,
    )


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) and "\x00" not in value else ""


def _email(value: Any) -> str:
    findings = Findings()
    findings.email(email := _text(value))
    try:
        findings.check()
    except ChatdError:
        return ""
    return email


def _groups(claims: Mapping[str, Any], path: str) -> ClaimedGroups:
    value = find_claim(claims, path)
    if value is None:
        return ClaimedGroups(notes=(_absent(claims, path),))
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list):
        kind = "an object" if isinstance(value, Mapping) else "no text"
        return ClaimedGroups(notes=(f'The claim "{path}" is {kind}; a list of texts is needed.',))
    texts = dict.fromkeys(each for each in value if isinstance(each, str))
    usable = [text for text in texts if 0 < len(text) <= MAX_GROUP_VALUE and "\x00" not in text]
    notes = []
    if len(usable) < len(texts) or not all(isinstance(each, str) for each in value):
        notes.append("Values that are no text, empty or too long are left out.")
    if len(usable) > MAX_GROUPS:
        notes.append(f"Of {len(usable)} values only the first {MAX_GROUPS} count.")
    if len(usable) > MAX_SHOWN:
        notes.append(f"{len(usable)} values came; the first {MAX_SHOWN} are shown.")
    return ClaimedGroups(tuple(usable[:MAX_GROUPS]), tuple(usable[:MAX_SHOWN]), tuple(notes))


def _absent(claims: Mapping[str, Any], path: str) -> str:
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, Mapping) and path in elsewhere:
        return (
            f'The provider left the claim "{path}" out because the list is too long for it:'
            " have it send only the groups that belong to chatd."
        )
    return f'The claim "{path}" did not come: does the provider send it to chatd, under this name?'


# user names


def username_bases(claimed: Claimed) -> list[str]:
    """Return what a new person may be called, the best first; there is always something."""
    found = [_slug(text.partition("@")[0]) for text in (claimed.username, claimed.email)]
    return [name for name in found if is_username(name)] or [_FALLBACK]


def numbered(base: str, number: int) -> str:
    """Return the name that is tried as the `number`th, within the bounds of a user name."""
    if number == 1:
        return base
    ending = f"-{number}"
    return base[: MAX_USERNAME - len(ending)].rstrip("-") + ending


def is_username(name: str) -> bool:
    findings = Findings()
    findings.username(name)
    try:
        findings.check()
    except ChatdError:
        return False
    return True


def _slug(text: str) -> str:
    """Return the letters and digits of a text without their accents, dashes for what is between."""
    plain = unicodedata.normalize("NFKD", text[:1024])
    plain = "".join(each for each in plain if not unicodedata.combining(each))
    return _NO_WORD.sub("-", plain)[: MAX_USERNAME + 1].strip("-")[:MAX_USERNAME].strip("-")
