"""The form with all settings of the deployment, made of their registry."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django import forms
from django.db import transaction
from unfold.widgets import UnfoldBooleanWidget

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.chats.prompts import DEFAULT_SYSTEM_PROMPT
from chatd.core.action_admin import sentence
from chatd.core.errors import ChatdError
from chatd.preferences.actions import change_setting, reset_setting
from chatd.preferences.kinds import MAX_PROMPT_BYTES
from chatd.preferences.models import SiteSetting
from chatd.preferences.registry import (
    ADVISOR,
    INCLUDE_DEFAULT_PROMPT,
    MODEL_OVERRIDES,
    NOT_IN_EFFECT,
    SITE_GROUPS,
    SITE_SETTINGS,
    SYSTEM_PROMPT,
)
from chatd.preferences.selectors import includes_default_prompt
from chatd.preferences.setting import Kind, Setting, SettingGroup, Stored, Values
from chatd.providers.overrides import change_advisor, change_model_override
from chatd.web.settings_fields import fields_of, model_choices, names_of, value_of

Change = Callable[[Actor], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A setting on the page: its fields, and where its value comes from."""

    setting: Setting[Any]
    fields: list[forms.BoundField]
    stored: Stored[Any]
    default: str
    text: str
    reset: forms.BoundField | None

    @property
    def has_parts(self) -> bool:
        return len(self.fields) > 1

    @property
    def not_in_effect(self) -> str:
        return "" if self.setting.in_effect else NOT_IN_EFFECT

    @property
    def built_in_text(self) -> str:
        return DEFAULT_SYSTEM_PROMPT if self.setting is INCLUDE_DEFAULT_PROMPT else ""

    @property
    def max_bytes(self) -> int:
        return MAX_PROMPT_BYTES if self.setting.kind is Kind.TEXT else 0

    @property
    def used_bytes(self) -> int:
        return len(str(self.fields[0].value() or "").encode())


class SettingsForm(forms.Form):
    """Everything that a person may see; `store` writes what they changed."""

    def __init__(self, user: User, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        rights = site_rights(user)
        self.settings = [each for each in SITE_SETTINGS if each.read_right in (None, *rights)]
        self.texts = dict(SiteSetting.objects.values_list("key", "value"))
        self.values = Values(SITE_SETTINGS, self.texts.items())
        may_change = SiteRight.CONFIG_UPDATE in rights
        models = model_choices()
        for setting in self.settings:
            for name, field in fields_of(setting, self._shown_value(setting), models).items():
                # What the page showed comes back with it: only what was changed there is stored.
                field.show_hidden_initial = True
                field.disabled = not may_change
                self.fields[name] = field
            if may_change and self.values.stored(setting).is_set:
                self.fields[_reset(setting)] = forms.BooleanField(
                    label=f"Back to the default: {default_text(setting)}",
                    required=False,
                    widget=UnfoldBooleanWidget(),
                )

    def _shown_value(self, setting: Setting[Any]) -> Any:
        if setting is INCLUDE_DEFAULT_PROMPT:
            return includes_default_prompt(self.values)
        return self.values[setting]

    def groups(self) -> Iterator[tuple[SettingGroup, list[Shown]]]:
        """Yield the groups with the settings that the person sees."""
        for group in SITE_GROUPS:
            shown = [self._shown(each) for each in group.settings if each in self.settings]
            if shown:
                yield group, shown

    def _shown(self, setting: Setting[Any]) -> Shown:
        return Shown(
            setting=setting,
            fields=[self[name] for name in names_of(setting)],
            stored=self.values.stored(setting),
            default=default_text(setting),
            text=self.texts.get(setting.key, ""),
            reset=self[_reset(setting)] if _reset(setting) in self.fields else None,
        )

    # Storing

    def store(self, actor: Actor) -> list[Setting[Any]] | None:
        """Store what was changed, all or nothing, and return it; None when something is refused.

        Refusals are then errors of the fields.
        """
        wanted = self._wanted()
        with transaction.atomic():
            for setting, change in wanted.items():
                try:
                    with transaction.atomic():
                        change(actor)
                except ChatdError as refusal:
                    self.add_error(names_of(setting)[0], sentence(refusal))
            if self.errors:
                transaction.set_rollback(True)
        return None if self.errors else list(wanted)

    def _wanted(self) -> dict[Setting[Any], Change]:
        wanted: dict[Setting[Any], Change] = {}
        for setting in self.settings:
            if self.cleaned_data.get(_reset(setting)):
                wanted[setting] = partial(_reset_it, setting)
            elif not set(names_of(setting)).isdisjoint(self.changed_data):
                wanted[setting] = _change_of(setting, value_of(setting, self.cleaned_data))
        if SYSTEM_PROMPT in wanted and INCLUDE_DEFAULT_PROMPT not in wanted:
            self._keep_what_was_shown(wanted)
        return wanted

    def _keep_what_was_shown(self, wanted: dict[Setting[Any], Change]) -> None:
        """Until it is chosen, a first prompt would switch the built-in one off unseen."""
        included = self.cleaned_data[INCLUDE_DEFAULT_PROMPT.key]
        was_chosen = self.values.stored(INCLUDE_DEFAULT_PROMPT).is_set
        has_prompt = self.cleaned_data[SYSTEM_PROMPT.key] and not self.cleaned_data.get(
            _reset(SYSTEM_PROMPT)
        )
        if included and has_prompt and not was_chosen:
            wanted[INCLUDE_DEFAULT_PROMPT] = _change_of(INCLUDE_DEFAULT_PROMPT, included)


def _reset(setting: Setting[Any]) -> str:
    return f"{setting.key}.reset"


def _reset_it(setting: Setting[Any], actor: Actor) -> None:
    reset_setting(actor, setting)


def _change_of(setting: Setting[Any], value: Any) -> Change:
    """Return what stores a value, by the way that the API goes."""
    if setting is ADVISOR:
        return lambda actor: change_advisor(actor, lambda: value)
    for context, override in MODEL_OVERRIDES.items():
        if setting is override:
            return lambda actor: change_model_override(actor, context, lambda: value)
    return lambda actor: change_setting(actor, setting, lambda: value)


def default_text(setting: Setting[Any]) -> str:
    """Return the default in words."""
    match setting.kind:
        case Kind.FLAG:
            return "on" if setting.default else "off"
        case Kind.MODEL:
            return setting.empty[:1].lower() + setting.empty[1:]
        case Kind.ADVISOR:
            return "off"
        case Kind.DURATION | Kind.DAYS:
            return str(setting.default)
        case Kind.IDS:
            return "all"
        case _:
            return str(setting.default) or "empty"
