"""One's own keys for AI providers, and which key is used where."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from chatd.accounts.actor import Actor, acting
from chatd.accounts.validation import ME
from chatd.providers.access import ProviderAccess
from chatd.providers.keys import KeyState, Unavailable, byok_enabled
from chatd.providers.own_keys import choose_own_key, forget_own_key, list_key_states_for
from chatd.web.settings_pages.forms import SECRET, Field, Form
from chatd.web.settings_pages.frame import Refused, Shown, Standing, answer_form, settings_view

ROUTE = "settings_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A provider with what can be done about one's key for it."""

    access: ProviderAccess
    standing: Standing
    keep: Form | None
    drop: Form | None


def standing_of_key(access: ProviderAccess) -> Standing:
    """Return which key is used at a provider: one's own, the shared one, or none."""
    if not access.provider.enabled:
        return Standing("Switched off", "An administrator has switched this provider off.")
    match access.choice.state:
        case KeyState.OWN if access.own_key.needs_reentry:
            says = "Your key cannot be read any more. Enter it again, or remove it."
            return Standing("Own key: enter it again", says, "error")
        case KeyState.OWN:
            return Standing("Own key", "Your own key is used and pays for your chats.", "done")
        case KeyState.SHARED:
            return Standing("Shared key", "The shared key of this server is used.", "done")
        case _:
            return _without_key(access)


def _without_key(access: ProviderAccess) -> Standing:
    match access.choice.unavailable:
        case None:
            return Standing("No key", "No key is stored, and the provider may need none.")
        case Unavailable.USER_API_KEY_REQUIRED:
            return Standing("No key", "Its models cannot be used until you enter a key.", "error")
        case _:
            says = "Its models cannot be used. An administrator can enter a shared key."
            return Standing("No key", says, "error")


@settings_view
def keys(request: HttpRequest) -> HttpResponse:
    """Show which keys are used (GET), or store or remove one's own for a provider (POST)."""
    if request.method != "POST":
        return _show(request)
    acts = {"key": _keep, "drop": _drop}
    return answer_form(request, acts, _show, route=ROUTE, blamed={"key": "api_key"})


def _keep(actor: Actor, request: HttpRequest) -> str:
    api_key = request.POST.get("api_key", "").strip()  # pasted, often with the end of a line
    access = choose_own_key(actor, ME, _provider(request), lambda: api_key)
    return f"Your key for {access.provider} is stored."


def _drop(actor: Actor, request: HttpRequest) -> str:
    forget_own_key(actor, ME, _provider(request))
    return "Your key is removed."


def _provider(request: HttpRequest) -> str:
    return request.POST.get("form", "").partition(":")[2]


def _show(request: HttpRequest, last: Refused | None = None) -> HttpResponse:
    shown = Shown(request, last)
    found = list_key_states_for(acting(request), ME)
    rows = [_row(shown, access) for access in found if byok_enabled() or access.has_own_key]
    context = {"rows": rows, "allowed": byok_enabled()}
    return shown.render("keys", ROUTE, context)


def _row(shown: Shown, access: ProviderAccess) -> Row:
    own = access.has_own_key
    may_enter = access.policy.own and access.provider.enabled
    return Row(
        access=access,
        standing=standing_of_key(access),
        keep=shown.form(_keep_form(access)) if may_enter else None,
        drop=shown.form(_drop_form(access)) if own else None,
    )


def _keep_form(access: ProviderAccess) -> Form:
    provider, own = access.provider, access.has_own_key
    return Form(
        name=f"key:{provider.pk}",
        submit="Replace the key" if own else "Store the key",
        subject=f"for {provider}",
        is_primary=False,
        fields=[
            Field(
                name="api_key",
                label=f"Another key for {provider}" if own else f"Your key for {provider}",
                kind=SECRET,
                required=True,
                # Browsers take this for a field that is no password to be kept.
                attributes={"autocomplete": "new-password", "spellcheck": "false"},
            )
        ],
    )


def _drop_form(access: ProviderAccess) -> Form:
    return Form(
        name=f"drop:{access.provider.pk}",
        submit="Remove your key",
        subject=f"for {access.provider}",
        is_primary=False,
        fields=[],
    )
