"""One's own API tokens: listed, made and revoked. A new one is in the answer to its form alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.utils.cache import add_never_cache_headers

from chatd.accounts.actions import MAX_TOKEN_NAME
from chatd.accounts.actor import Actor, acting
from chatd.accounts.api_keys import NewToken, create_own_token, delete_key
from chatd.accounts.models import APIKey, User
from chatd.accounts.scope_texts import SCOPE_TEXTS, USUAL_SCOPES
from chatd.accounts.selectors import find_own_token, page_of_own_tokens
from chatd.accounts.validation import ME
from chatd.api.authentication import HEADER
from chatd.core.clock import now
from chatd.core.errors import ChatdError, Validation, bad_request
from chatd.web.settings_pages.forms import Field, Form, Option
from chatd.web.settings_pages.frame import Refused, Shown, settings_view
from config.env import env

ROUTE = "settings_tokens"
TOKENS_PER_PAGE = 25

USUAL_DAYS = 90
EVERYTHING, LIMITED = "everything", "limited"
GONE = "There is no such token any more."

_MAX_PAGE = 10**6


@dataclass(frozen=True, slots=True)
class Row:
    """A token in the list."""

    token: APIKey
    has_expired: bool

    @property
    def scopes(self) -> Sequence[tuple[str, str]]:
        """What it is limited to, with what that means; nothing for all that its person may do."""
        limits = () if "all" in self.token.scopes else self.token.scopes
        return [(scope, SCOPE_TEXTS.get(scope, "")) for scope in limits]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensPage:
    """A page of one's tokens; pages are counted from 1, and 0 stands for none."""

    rows: Sequence[Row]
    count: int
    number: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.count // TOKENS_PER_PAGE))

    @property
    def newer(self) -> int:
        return min(self.number - 1, self.pages)

    @property
    def older(self) -> int:
        return self.number + 1 if self.number < self.pages else 0


def get_tokens_page(user: User, number: int) -> TokensPage:
    """Return a page of a person's own tokens, the newest first."""
    found = page_of_own_tokens(user, limit=TOKENS_PER_PAGE, offset=(number - 1) * TOKENS_PER_PAGE)
    instant = now()
    rows = [Row(token, token.expires_at <= instant) for token in found.tokens]
    return TokensPage(rows=rows, count=found.count, number=number)


@settings_view
def tokens(request: HttpRequest) -> HttpResponse:
    """List one's tokens (GET), or make one and show it this once (POST)."""
    if request.method != "POST":
        return _show(request)
    try:
        key = create_own_token(acting(request), ME, lambda: _wanted(request.POST))
    except ChatdError as error:
        return _show(request, Refused(name="token", refusal=error))
    response = _show(request, new_key=key)
    add_never_cache_headers(response)
    return response


@settings_view
def revoke(request: HttpRequest, key_id: str) -> HttpResponse:
    """Ask whether to revoke a token (GET), or do it (POST)."""
    actor = acting(request)
    token = find_own_token(actor.user, key_id)
    if token is None:
        messages.info(request, GONE)
        return redirect(ROUTE)
    if request.method == "POST":
        return _revoke(request, actor, token)
    context = {"row": Row(token, token.expires_at <= now())}
    return Shown(request, None).render("revoke", ROUTE, context)


def _revoke(request: HttpRequest, actor: Actor, token: APIKey) -> HttpResponse:
    delete_key(actor, ME, token.pk)
    messages.success(request, f"The token “{token}” is revoked. It is not accepted any more.")
    return redirect(ROUTE)


def _show(request: HttpRequest, last: Refused | None = None, *, new_key: str = "") -> HttpResponse:
    page = get_tokens_page(acting(request).user, _page_number(request))
    shown = Shown(request, last)
    context = {"page": page, "new_key": new_key, "form": shown.form(_form()), "header": HEADER}
    return shown.render("tokens", ROUTE, context)


def _page_number(request: HttpRequest) -> int:
    raw = request.GET.get("page", "")
    known = raw.isascii() and raw.isdigit() and len(raw) < 8
    return max(1, min(int(raw), _MAX_PAGE)) if known else 1


def _wanted(posted: QueryDict) -> NewToken:
    name = posted.get("token_name", "").strip()
    limits = posted.getlist("scopes") if posted.get("reach") != EVERYTHING else []
    wrong = []
    if not name:
        advice = "says later on what the token is for. Give it one."
        wrong.append(Validation("token_name", "A name is needed.", advice))
    if not limits and posted.get("reach") != EVERYTHING:
        wrong.append(Validation("scopes", "Tick what the token may be used for."))
    days = posted.get("lifetime", "").strip()
    if not (days.isascii() and days.isdigit() and len(days) < 6):
        advice = "must be a whole number of days."
        wrong.append(Validation("lifetime", "A number of days is needed.", advice))
    if wrong:
        raise bad_request("The token was not made.", validations=wrong)
    return NewToken(name=name, lifetime=timedelta(days=int(days)), scopes=limits)


def _form() -> Form:
    return Form(
        name="token",
        submit="Create the token",
        fields=[
            Field(
                name="token_name",
                label="Name",
                hint="What it is for, such as the program that uses it.",
                required=True,
                attributes={"maxlength": MAX_TOKEN_NAME, "autocomplete": "off"},
            ),
            Field(
                name="lifetime",
                label="Lifetime in days",
                hint=f"At most {env.token_max_days}. It ends by itself then.",
                kind="number",
                values=[str(min(USUAL_DAYS, env.token_max_days))],
                required=True,
                attributes={"min": 1, "max": env.token_max_days},
            ),
            Field(
                name="reach",
                label="What it may be used for",
                kind="radio",
                values=[LIMITED],
                options=[
                    Option(value=LIMITED, label="Only what is ticked below"),
                    Option(value=EVERYTHING, label="Everything that you may do"),
                ],
            ),
            Field(
                name="scopes",
                label="Limits",
                hint="It never allows more than you may do yourself, whatever is ticked.",
                kind="checkboxes",
                values=["chat:*"],
                options=_scope_options(),
            ),
        ],
    )


def _scope_options() -> list[Option]:
    others = [scope for scope in SCOPE_TEXTS if scope not in USUAL_SCOPES]
    return [
        Option(value=scope, label=SCOPE_TEXTS[scope], hint=scope, more=scope in others)
        for scope in (*USUAL_SCOPES, *others)
    ]
