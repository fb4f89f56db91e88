"""How one's chats are answered: instructions, models, recording; and what they may cost."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from chatd.accounts.actor import Actor, acting
from chatd.preferences.actions import store_personal
from chatd.preferences.debug_logging import DebugLogging, choose_debug_logging, debug_logging_of
from chatd.preferences.registry import (
    COMPACTION_THRESHOLD,
    CUSTOM_PROMPT,
    PERSONAL_DEBUG_LOGGING,
)
from chatd.preferences.selectors import personal_value
from chatd.spending.selectors import standing_of
from chatd.web.settings_pages.forms import Field, Form
from chatd.web.settings_pages.frame import Refused, Shown, answer_form, settings_view
from chatd.web.settings_pages.models import change_threshold, choose_model, get_model_settings

ROUTE = "settings_chats"


@dataclass(frozen=True, slots=True)
class Recording:
    """Whether model calls are recorded: by force, never, or as chosen in the form."""

    logging: DebugLogging
    form: Form | None

    @property
    def is_forced(self) -> bool:
        return self.logging.enabled and not self.logging.may_choose


@settings_view
def chats(request: HttpRequest) -> HttpResponse:
    """Show what holds for one's chats (GET), or change one thing about it (POST)."""
    if request.method != "POST":
        return _show(request)
    acts = {
        "prompt": _instruct,
        "model": choose_model,
        "compaction": change_threshold,
        "recording": _record,
    }
    blamed = {"prompt": "custom_prompt", "model": "model", "compaction": "threshold_percent"}
    return answer_form(request, acts, _show, route=ROUTE, blamed=blamed)


def _instruct(actor: Actor, request: HttpRequest) -> str:
    assignment = CUSTOM_PROMPT.to(request.POST.get("custom_prompt", ""))
    store_personal(actor.user, assignment)
    return "Your instructions are saved." if assignment.text else "You have no instructions now."


def _record(actor: Actor, request: HttpRequest) -> str:
    wanted = "enabled" in request.POST
    choose_debug_logging(actor.user, lambda: wanted)
    return "Model calls are recorded." if wanted else "Model calls are not recorded."


def _show(request: HttpRequest, last: Refused | None = None) -> HttpResponse:
    shown, user = Shown(request, last), acting(request).user
    logging = debug_logging_of(user.pk)
    context = {
        "instructions": shown.form(_prompt_form(personal_value(user.pk, CUSTOM_PROMPT))),
        "models": get_model_settings(shown, user),
        "compaction": COMPACTION_THRESHOLD,
        "recording": Recording(
            logging, shown.form(_recording_form(logging)) if logging.may_choose else None
        ),
        "recording_setting": PERSONAL_DEBUG_LOGGING,
        "standing": standing_of(user.pk),
    }
    return shown.render("chats", ROUTE, context)


def _prompt_form(text: str) -> Form:
    field = Field(
        name="custom_prompt",
        label=CUSTOM_PROMPT.label,
        kind="textarea",
        hint=CUSTOM_PROMPT.form_hint,
        values=[text],
        attributes={"rows": 6},
    )
    return Form(name="prompt", submit="Save", subject=CUSTOM_PROMPT.label, fields=[field])


def _recording_form(logging: DebugLogging) -> Form:
    field = Field(
        name="enabled",
        label=PERSONAL_DEBUG_LOGGING.label,
        kind="checkbox",
        hint=PERSONAL_DEBUG_LOGGING.form_hint,
        values=["yes"] if logging.enabled else [],
    )
    return Form(name="recording", submit="Save", subject=field.label, fields=[field])
