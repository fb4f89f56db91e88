"""What the administration has beside its lists: the way in and out, and the overview.

Everybody signs in on the same page. The lists themselves are the `admin` modules of each package.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.urls import reverse
from django.utils.http import urlencode

from chatd.accounts.models import Group, User
from chatd.core.errors import forbidden
from chatd.preferences.registry import SYSTEM_PROMPT
from chatd.preferences.selectors import site_value
from chatd.providers.models import AIProvider, ModelConfig
from chatd.providers.price_models import ModelPrice
from chatd.spending.selectors import usage_limit

DEMO = "demo"
"""The name of the provider that a first start makes."""


def sign_in(request: HttpRequest) -> HttpResponse:
    """Send to the sign-in of the pages, and back. Raises ChatdError 403 for who is signed in."""
    if request.user.is_authenticated:
        raise forbidden(
            "The administration is not open to you.",
            detail="An owner of this deployment can give you a role that opens it.",
        )
    target = request.GET.get("next") or reverse("admin:index")
    return redirect(f"{resolve_url('login')}?{urlencode({'next': target})}")


def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out as on every other page; only a form may."""
    from chatd.web.views import SignOutView

    return SignOutView.as_view()(request)


@login_required
def change_password(request: HttpRequest) -> HttpResponse:
    return redirect("settings")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a deployment needs before people work with it."""

    title: str
    help: str
    link: str
    label: str
    is_done: bool


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the first steps that this administrator may take to the context of the overview."""
    steps = [step for may, step in _steps() if request.user.has_perm(may)]
    done = sum(step.is_done for step in steps)
    return {**context, "steps": steps, "steps_done": done, "next_step": _next(steps)}


def _next(steps: list[Step]) -> Step | None:
    return next((step for step in steps if not step.is_done), None)


def _steps() -> list[tuple[str, Step]]:
    providers = AIProvider.objects.filter(deleted=False, enabled=True).exclude(name=DEMO)
    models = ModelConfig.objects.filter(
        deleted=False, enabled=True, ai_provider__in=providers.values("pk")
    )
    priced = ModelPrice.objects.filter(model_config=OuterRef("pk"))
    limit = usage_limit()
    return [
        (
            "providers.add_aiprovider",
            Step(
                "Connect a provider",
                "Where models run, and the key that pays for them.",
                reverse("admin:providers_aiprovider_add"),
                "Add a provider",
                providers.exists(),
            ),
        ),
        (
            "providers.add_modelconfig",
            Step(
                "Add a model",
                "What people choose from, with its options and prices.",
                reverse("admin:providers_modelconfig_add"),
                "Add a model",
                models.exists(),
            ),
        ),
        (
            "providers.change_modelconfig",
            Step(
                "Give every model a price",
                "Without prices nothing is counted, and no limit holds.",
                reverse("admin:providers_modelconfig_changelist"),
                "See the models",
                models.exists() and not models.filter(~Exists(priced)).exists(),
            ),
        ),
        (
            "preferences.change_sitesetting",
            Step(
                "Tell models how to answer",
                "Write the prompt that opens every chat; see the other settings.",
                reverse("admin:preferences_sitesetting_changelist"),
                "See the settings",
                bool(site_value(SYSTEM_PROMPT)),
            ),
        ),
        (
            "accounts.add_user",
            Step(
                "Bring people in",
                "Make accounts; each new one can have chats at once.",
                reverse("admin:accounts_user_add"),
                "Add a person",
                User.objects.live().exclude(is_system=True)[1:2].exists(),
            ),
        ),
        (
            "accounts.add_group",
            Step(
                "Make a group",
                "Groups share chats and have limits of their own.",
                reverse("admin:accounts_group_add"),
                "Add a group",
                Group.objects.exclude(pk__in=Group.objects.values("organization_id")).exists(),
            ),
        ),
        (
            "spending.change_usagelimitconfig",
            Step(
                "Set a spending limit",
                "What everybody may spend in a day, a week or a month.",
                reverse("admin:spending_usagelimitconfig_changelist"),
                "Set the limit",
                limit is not None and limit.enabled,
            ),
        ),
    ]
