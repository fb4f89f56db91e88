"""The page of the settings: made of their registry, stored by the actions of the API."""

import re
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import SiteRole
from chatd.audit.models import AuditEntry
from chatd.core.ids import NIL_UUID
from chatd.preferences.codecs import Advisor
from chatd.preferences.kinds import MAX_PROMPT_BYTES
from chatd.preferences.models import SiteSetting
from chatd.preferences.registry import (
    ADVISOR,
    AUTO_ARCHIVE_DAYS,
    COMPUTER_USE_PROVIDER,
    INCLUDE_DEFAULT_PROMPT,
    MODEL_OVERRIDES,
    NOT_IN_EFFECT,
    PLAN_MODE_INSTRUCTIONS,
    RETENTION_DAYS,
    SITE_GROUPS,
    SITE_SETTINGS,
    SYSTEM_PROMPT,
    TEMPLATE_ALLOWLIST,
    WORKSPACE_TTL,
    ModelOverrideContext,
)
from chatd.preferences.selectors import site_value
from chatd.preferences.setting import Setting
from chatd.providers.models import ModelConfig
from tests.conftest import Cast
from tests.support.forms import fields_of_form
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db

PAGE = "/admin/preferences/sitesetting/"
UNKNOWN = "6a1f0f0e-53a4-4c1d-9c1b-6f2f6f0c7f11"
TITLES = MODEL_OVERRIDES[ModelOverrideContext.TITLE_GENERATION]


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


def shown(browser: Client) -> str:
    answer = browser.get(PAGE)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def save(browser: Client, *without: str, **changes: str) -> Any:
    """Open the page, change fields (named with __ for a dot) and save it; return the next page."""
    form = fields_of_form(browser.get(PAGE).content.decode(), "settings_form")
    form |= {name.replace("__", "."): value for name, value in changes.items()}
    for name in without:
        del form[name]
    return browser.post(PAGE, form, follow=True)


def messages_of(answer: Any) -> list[str]:
    return [str(each) for each in answer.context["messages"]]


def store(setting: Setting[Any], text: str) -> None:
    SiteSetting.objects.create(key=setting.key, value=text)


def part(html: str, setting: Setting[Any]) -> str:
    """Return the piece of the page that is about a setting."""
    (found,) = re.findall(
        rf'data-setting="{re.escape(setting.key)}"(.*?)(?=data-setting=|</section>)',
        html,
        re.DOTALL,
    )
    return str(found)


def test_every_setting_is_there_with_its_name_its_help_and_its_group(root: Client) -> None:
    html = shown(root)
    for setting in SITE_SETTINGS:
        about = part(html, setting)
        assert setting.label in about
        assert setting.help in about
        assert (NOT_IN_EFFECT in about) == (not setting.in_effect)
        assert "This is the default." in about
    for group in SITE_GROUPS:
        assert f">{group.title}</h2>" in html


def test_the_overview_leads_to_it_until_there_is_a_prompt(root: Client) -> None:
    def steps() -> dict[str, bool]:
        context = root.get("/admin/").context
        return {step.link: step.is_done for step in context["steps"]}

    assert steps()[PAGE] is False
    store(SYSTEM_PROMPT, "Serve.")
    assert steps()[PAGE] is True


def test_saving_an_unchanged_page_stores_nothing(root: Client) -> None:
    store(SYSTEM_PROMPT, "One.\n\nTwo.")
    answer = save(root)
    assert messages_of(answer) == ["Nothing was changed."]
    assert SiteSetting.objects.count() == 1
    assert not AuditEntry.objects.exists()


def test_only_what_changed_is_stored_and_recorded(root: Client) -> None:
    answer = save(
        root,
        **{RETENTION_DAYS.key: "90", PLAN_MODE_INSTRUCTIONS.key: "Plan\r\nfirst. \r\n"},
    )
    assert messages_of(answer) == ["Saved: Plan mode instructions, Retention."]
    assert dict(SiteSetting.objects.values_list("key", "value")) == {
        RETENTION_DAYS.key: "90",
        PLAN_MODE_INSTRUCTIONS.key: "Plan\nfirst.",
    }
    entries = AuditEntry.objects.order_by("pk")
    assert [(entry.actor_name, entry.resource_id) for entry in entries] == [
        ("root", PLAN_MODE_INSTRUCTIONS.key),
        ("root", RETENTION_DAYS.key),
    ]
    assert "Set here." in part(shown(root), RETENTION_DAYS)


def test_what_somebody_else_changed_meanwhile_stays(root: Client) -> None:
    form = fields_of_form(root.get(PAGE).content.decode(), "settings_form")
    store(RETENTION_DAYS, "7")
    root.post(PAGE, form | {AUTO_ARCHIVE_DAYS.key: "3"})
    assert site_value(RETENTION_DAYS) == 7
    assert site_value(AUTO_ARCHIVE_DAYS) == 3


def test_every_kind_of_setting_can_be_changed(root: Client, model: ModelConfig) -> None:
    advisor = {f"{ADVISOR.key}__enabled": "on", f"{ADVISOR.key}__max_uses_per_run": "3"}
    save(
        root,
        **{WORKSPACE_TTL.key: "1d 12h", COMPUTER_USE_PROVIDER.key: "openai"},
        **{TITLES.key: str(model.pk)},
        **advisor,
        **{f"{ADVISOR.key}__model_config_id": str(model.pk)},
    )
    assert site_value(WORKSPACE_TTL) == 36 * 3_600_000
    assert site_value(COMPUTER_USE_PROVIDER) == "openai"
    assert site_value(TITLES) == model.pk
    assert site_value(ADVISOR) == Advisor(
        enabled=True, max_uses_per_run=3, model_config_id=model.pk
    )
    html = shown(root)
    assert 'value="1d12h"' in part(html, WORKSPACE_TTL)
    assert f'<option value="{model.pk}" selected>' in part(html, TITLES)
    assert messages_of(save(root)) == ["Nothing was changed."]


def test_a_setting_goes_back_to_its_default(root: Client) -> None:
    store(RETENTION_DAYS, "90")
    store(SYSTEM_PROMPT, "Serve.")
    about = part(shown(root), RETENTION_DAYS)
    assert "Back to the default: 30" in about
    save(root, **{f"{RETENTION_DAYS.key}__reset": "on", RETENTION_DAYS.key: "5"})
    assert list(SiteSetting.objects.values_list("key", flat=True)) == [SYSTEM_PROMPT.key]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.changes["value"]) == ("delete", {"old": "90", "new": None})


@pytest.mark.parametrize(
    ("setting", "typed", "words"),
    [
        (RETENTION_DAYS, "3651", "Retention days must be between 0 and 3650."),
        (RETENTION_DAYS, "-1", "Retention days must be between 0 and 3650."),
        (RETENTION_DAYS, "9" * 40, "Retention days must be between 0 and 3650."),
        (RETENTION_DAYS, "soon", "Enter a whole number."),
        (RETENTION_DAYS, "", "This field is required."),
        (WORKSPACE_TTL, "1s", "Workspace TTL must not be less than 1 minute."),
        (WORKSPACE_TTL, "31d", "Workspace TTL must not exceed 30 days."),
        (WORKSPACE_TTL, "a while", "Write a length of time such as 90m, 8h or 1d12h."),
        (SYSTEM_PROMPT, "x" * (MAX_PROMPT_BYTES + 1), "System prompt exceeds maximum length."),
        (COMPUTER_USE_PROVIDER, "none", 'Expected one of: anthropic, openai. Got "none".'),
        (TITLES, UNKNOWN, "There is no model config with this id."),
        (TITLES, "a model", 'Value "a model" is not a valid UUID.'),
        (TEMPLATE_ALLOWLIST, UNKNOWN, "One or more templates not found or deprecated."),
        (TEMPLATE_ALLOWLIST, "golang", "Invalid template ID in allowlist."),
    ],
)
def test_a_refusal_stands_next_to_its_field_and_nothing_is_stored(
    root: Client, setting: Setting[Any], typed: str, words: str
) -> None:
    answer = save(root, **{setting.key: typed, AUTO_ARCHIVE_DAYS.key: "3"})
    html = unescape(answer.content.decode())
    assert words in part(html, setting)
    assert typed in part(html, setting)
    assert 'value="3"' in part(html, AUTO_ARCHIVE_DAYS)
    assert "Nothing was saved." in html
    assert not SiteSetting.objects.exists()
    assert not AuditEntry.objects.exists()


def test_several_refusals_are_told_at_once(root: Client) -> None:
    answer = save(root, **{RETENTION_DAYS.key: "9999", AUTO_ARCHIVE_DAYS.key: "-3"})
    html = answer.content.decode()
    assert "Retention days must be" in part(html, RETENTION_DAYS)
    assert "Auto-archive days must be" in part(html, AUTO_ARCHIVE_DAYS)


def test_models_are_chosen_by_name_and_those_that_are_off_only_where_they_are_chosen(
    root: Client, model: ModelConfig
) -> None:
    assert f">{model} ({model.ai_provider})</option>" in part(shown(root), TITLES)
    ModelConfig.objects.filter(pk=model.pk).update(enabled=False)
    assert str(model.pk) not in part(shown(root), TITLES)
    assert "switched off" in part(shown(root), ADVISOR), "an advisor may be switched off"
    store(TITLES, str(model.pk))
    assert f"{model} ({model.ai_provider}), switched off" in part(shown(root), TITLES)
    ModelConfig.objects.filter(pk=model.pk).update(deleted=True, is_default=False)
    assert "A model that was deleted" in part(shown(root), TITLES)
    assert messages_of(save(root)) == ["Nothing was changed."]


@pytest.mark.parametrize("setting", [TITLES, RETENTION_DAYS, ADVISOR, WORKSPACE_TTL])
def test_what_cannot_be_understood_is_said_and_can_be_taken_back(
    root: Client, setting: Setting[Any]
) -> None:
    store(setting, "<b>nonsense")
    html = root.get(PAGE).content.decode()
    assert "cannot be understood" in html
    assert "<code>&lt;b&gt;nonsense</code>" in html
    assert messages_of(save(root)) == ["Nothing was changed."]
    assert SiteSetting.objects.exists()
    save(root, **{f"{setting.key}__reset": "on"})
    assert not SiteSetting.objects.exists()


def test_the_built_in_prompt_stays_as_shown_when_a_first_prompt_is_written(root: Client) -> None:
    save(root, **{SYSTEM_PROMPT.key: "Serve."})
    assert site_value(INCLUDE_DEFAULT_PROMPT)
    assert SiteSetting.objects.get(key=INCLUDE_DEFAULT_PROMPT.key).value == "true"


def test_the_built_in_prompt_can_be_read_and_switched_off(root: Client) -> None:
    assert "Read the built-in prompt" in part(shown(root), INCLUDE_DEFAULT_PROMPT)
    save(root, INCLUDE_DEFAULT_PROMPT.key, **{SYSTEM_PROMPT.key: "Serve."})
    assert SiteSetting.objects.get(key=INCLUDE_DEFAULT_PROMPT.key).value == "false"


def test_the_advisor_may_not_have_a_model_that_is_not_there(root: Client) -> None:
    answer = save(root, **{f"{ADVISOR.key}__model_config_id": UNKNOWN})
    assert "does not match any existing model config" in answer.content.decode()
    save(root, **{f"{ADVISOR.key}__enabled": "on"})
    assert site_value(ADVISOR) == Advisor(enabled=True, model_config_id=NIL_UUID)


def test_auditors_see_what_they_may_and_change_nothing(cast: Cast) -> None:
    cast.alice.rbac_roles = [SiteRole.AUDITOR]
    cast.alice.save()
    store(SYSTEM_PROMPT, "Only owners read this.")
    store(RETENTION_DAYS, "90")
    browser = browser_of(cast.alice)
    html = shown(browser)
    assert "Only owners read this." not in html
    assert SYSTEM_PROMPT.label not in html
    assert 'value="90"' in part(html, RETENTION_DAYS)
    assert "Back to the default" not in html
    assert ">Save<" not in html
    assert browser.post(PAGE, {RETENTION_DAYS.key: "1"}).status_code == 403
    assert site_value(RETENTION_DAYS) == 90


def test_others_do_not_reach_it_and_no_row_can_be_opened(cast: Cast, root: Client) -> None:
    store(SYSTEM_PROMPT, "Only owners read this.")
    row = SiteSetting.objects.get()
    for path in (f"{row.pk}/change/", "add/", f"{row.pk}/delete/"):
        assert root.get(f"{PAGE}{path}").status_code == 404
    cast.bob.rbac_roles = [SiteRole.USER_ADMIN]
    cast.bob.save()
    assert browser_of(cast.bob).get(PAGE).status_code == 403
    assert browser_of(cast.bob).post(PAGE, {}).status_code == 403


def test_the_page_costs_the_same_whatever_is_stored(root: Client, model: ModelConfig) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            shown(root)
        return len(captured)

    before = queries()
    for setting in SITE_SETTINGS:
        store(setting, setting.encode(setting.default))
    assert queries() == before == 5
