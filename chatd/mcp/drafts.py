"""A server as it is asked for, and everything that is wrong with it: for the API and the admin.

The database holds the rest: slugs, and values of a kind it does not know.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from django.core.exceptions import ValidationError

from chatd.accounts.validation import Findings
from chatd.core.errors import bad_request
from chatd.mcp.models import (
    MAX_DESCRIPTION,
    MAX_HEADER,
    MAX_NAME,
    MAX_SCOPES,
    MAX_SLUG,
    MAX_URL,
    AuthType,
    Availability,
    Transport,
)
from chatd.providers.models import validate_http_url

MAX_SECRET_BYTES = 10 * 1024
MAX_HEADERS = 50
MAX_TOOLS = 500
MAX_TOOL_NAME = 256

REQUIRED = ("display_name", "slug", "transport", "url", "auth_type", "availability")
PLAIN_FIELDS = (
    *REQUIRED,
    "description",
    "icon_url",
    "oauth2_client_id",
    "oauth2_auth_url",
    "oauth2_token_url",
    "oauth2_scopes",
    "api_key_header",
    "tool_allow_list",
    "tool_deny_list",
    "enabled",
    "model_intent",
    "allow_in_plan_mode",
    "forward_coder_headers",
)
"""What is stored as it was given; the rest are secrets."""

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

NEEDS_KEY = "API key auth type requires api_key_header and api_key_value."
NEEDS_HEADERS = "Custom headers auth type requires at least one custom header."
NEEDS_ALL_OR_NONE = (
    "OAuth2 auth type requires oauth2_client_id, oauth2_auth_url and oauth2_token_url,"
    " or none of them to have them discovered."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFields:
    """What is asked for of a new server or a change; None is not given, an empty value clears."""

    display_name: str | None = None
    slug: str | None = None
    description: str | None = None
    icon_url: str | None = None
    transport: str | None = None
    url: str | None = None
    auth_type: str | None = None
    oauth2_client_id: str | None = None
    oauth2_client_secret: str | None = field(default=None, repr=False)
    oauth2_auth_url: str | None = None
    oauth2_token_url: str | None = None
    oauth2_scopes: str | None = None
    api_key_header: str | None = None
    api_key_value: str | None = field(default=None, repr=False)
    custom_headers: Mapping[str, str] | None = field(default=None, repr=False)
    tool_allow_list: Sequence[str] | None = None
    tool_deny_list: Sequence[str] | None = None
    availability: str | None = None
    enabled: bool | None = None
    model_intent: bool | None = None
    allow_in_plan_mode: bool | None = None
    forward_coder_headers: bool | None = None

    def trimmed(self) -> "ServerFields":
        """Return the same without space around texts, and without blank entries in lists."""
        return replace(
            self, **{each.name: _trim(getattr(self, each.name)) for each in fields(self)}
        )

    @property
    def wants_discovery(self) -> bool:
        """The OAuth part is to be found out from the server itself."""
        return self.auth_type == AuthType.OAUTH2 and not any(self._oauth_parts())

    def _oauth_parts(self) -> tuple[str | None, ...]:
        return (self.oauth2_client_id, self.oauth2_auth_url, self.oauth2_token_url)


def check_new_server(new: ServerFields) -> None:
    """Raise the 400 for a server that cannot be made as it is asked for."""
    findings = Findings()
    for name in REQUIRED:
        if not getattr(new, name):
            findings.add(name, "required", "", "it must be given.")
    _check_forms(new, findings)
    findings.check()
    match new.auth_type:
        case AuthType.API_KEY if not (new.api_key_header and new.api_key_value):
            raise bad_request(NEEDS_KEY)
        case AuthType.CUSTOM_HEADERS if not new.custom_headers:
            raise bad_request(NEEDS_HEADERS)
        case AuthType.OAUTH2 if any(new._oauth_parts()) and not all(new._oauth_parts()):
            raise bad_request(NEEDS_ALL_OR_NONE)


def check_changes(changes: ServerFields) -> None:
    """Raise the 400 for values that no server can have. What they make together is not judged."""
    findings = Findings()
    for name in REQUIRED:
        if getattr(changes, name) == "":
            findings.add(name, "required", "", "it must not be empty.")
    _check_forms(changes, findings)
    findings.check()


def _check_forms(wanted: ServerFields, findings: Findings) -> None:
    """Check what is given; blank texts are the business of who requires them."""
    if wanted.slug and not SLUG.fullmatch(wanted.slug):
        advice = "tools are named after it: use letters, digits, dashes and underscores."
        findings.add("slug", "slug", wanted.slug[:MAX_SLUG], advice)
    _one_of(findings, "transport", wanted.transport, Transport.values)
    _one_of(findings, "auth_type", wanted.auth_type, AuthType.values)
    _one_of(findings, "availability", wanted.availability, Availability.values)
    for name in ("url", "oauth2_auth_url", "oauth2_token_url"):
        _url(findings, name, getattr(wanted, name))
    for name, most in _LONGEST.items():
        if value := getattr(wanted, name):
            findings.text(name, value, most=most)
    for name in ("tool_allow_list", "tool_deny_list"):
        _tools(findings, name, getattr(wanted, name) or ())
    _headers(findings, wanted)
    if len((wanted.oauth2_client_secret or "").encode(errors="replace")) > MAX_SECRET_BYTES:
        findings.add("oauth2_client_secret", "max", "…", f"at most {MAX_SECRET_BYTES} bytes.")


_LONGEST = {
    "display_name": MAX_NAME,
    "slug": MAX_SLUG,
    "description": MAX_DESCRIPTION,
    "icon_url": MAX_URL,
    "url": MAX_URL,
    "oauth2_client_id": MAX_URL,
    "oauth2_auth_url": MAX_URL,
    "oauth2_token_url": MAX_URL,
    "oauth2_scopes": MAX_SCOPES,
    "api_key_header": MAX_HEADER,
}


def _one_of(findings: Findings, name: str, value: str | None, allowed: list[str]) -> None:
    if value:
        findings.one_of(name, value, allowed)


def _url(findings: Findings, name: str, value: str | None) -> None:
    if not value:
        return
    try:
        validate_http_url(value)
    except ValidationError as error:
        # what precedes an @ may be a password
        shown = "…" if "@" in value else value[:MAX_URL]
        findings.add(name, "url", shown, " ".join(error.messages))


def _tools(findings: Findings, name: str, tools: Sequence[str]) -> None:
    if len(tools) > MAX_TOOLS:
        findings.add(name, "max", str(len(tools)), f"at most {MAX_TOOLS} tools.")
    for tool in tools:
        findings.text(name, tool, most=MAX_TOOL_NAME)


def _headers(findings: Findings, wanted: ServerFields) -> None:
    """Check what becomes headers of requests; values are secrets and not repeated.

    Nor is what should be the name of one and is none: it may be a whole header.
    """
    if wanted.api_key_header and not _HEADER_NAME.fullmatch(wanted.api_key_header):
        shown = wanted.api_key_header[:MAX_HEADER]
        findings.add("api_key_header", "header", shown, "must be the name of a header.")
    _header_value(findings, "api_key_value", wanted.api_key_value or "")
    headers = wanted.custom_headers or {}
    if len(headers) > MAX_HEADERS:
        findings.add("custom_headers", "max", str(len(headers)), f"at most {MAX_HEADERS} headers.")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or len(name) > MAX_HEADER:
            advice = "what precedes each value must be the name of a header."
            findings.add("custom_headers", "header", "…", advice)
        _header_value(findings, "custom_headers", value)


def _header_value(findings: Findings, name: str, value: str) -> None:
    if any(character < " " or character == "\x7f" for character in value):
        findings.add(name, "header", "…", "must be one line without control characters.")
    if len(value.encode(errors="replace")) > MAX_SECRET_BYTES:
        findings.add(name, "max", "…", f"at most {MAX_SECRET_BYTES} bytes.")


def _trim(value: Any) -> Any:
    match value:
        case str():
            return value.strip()
        case Mapping():
            return {str(key).strip(): str(each).strip() for key, each in value.items()}
        case list() | tuple():
            return [trimmed for each in value if (trimmed := str(each).strip())]
    return value
