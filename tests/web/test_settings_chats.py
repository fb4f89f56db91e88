"""The page on which people say how their chats are answered."""

from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import User
from chatd.core.clock import now
from chatd.preferences import debug_logging
from chatd.preferences.registry import (
    COMPACTION_THRESHOLD,
    CUSTOM_PROMPT,
    DEBUG_LOGGING_ALLOWED,
    MODEL_OVERRIDES,
    PERSONAL_DEBUG_LOGGING,
    PERSONAL_OVERRIDES,
    PERSONAL_OVERRIDES_ALLOWED,
    PERSONAL_SETTINGS,
    ModelOverrideContext,
    PersonalOverrideContext,
)
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from chatd.spending.periods import Period, window_of
from tests.support.settings import personal_texts, put_personal, put_site
from tests.support.spending import limit_everybody, spend
from tests.web.test_settings_pages import html_of

PATH = "/settings/chats"
IDLE = "No effect yet"
UNKNOWN = "0b5a1f0e-0000-4000-8000-000000000007"
ROOT = PERSONAL_OVERRIDES[PersonalOverrideContext.ROOT]
GENERAL = PERSONAL_OVERRIDES[PersonalOverrideContext.GENERAL]


def post(page: Client, form: str, **typed: str) -> Any:
    return page.post(PATH, {"form": form, **typed})


def text_of(page: Client) -> str:
    return unescape(html_of(page.get(PATH)))


def form_of(html: str, name: str) -> str:
    """Return the markup of a form."""
    return html.partition(f'id="{name}" class="settings-form')[2].partition("</form>")[0]


@pytest.fixture
def gpt(model: ModelConfig) -> ModelConfig:
    """A second model, which can be used by everybody."""
    provider = AIProvider(type="openai", name="openai", base_url="http://127.0.0.1:9/v1")
    config = ModelConfig(
        ai_provider=save_provider(provider, new_key="x"), model="gpt", display_name="GPT"
    )
    return save_model_config(config)


# instructions


def test_instructions_are_stored_as_models_get_them_and_shown_again(
    page: Client, alice: User
) -> None:
    response = post(page, "prompt", custom_prompt="Be brief.  \r\n\r\n\r\n\r\nNow.</textarea>")
    assert response["Location"] == f"{PATH}#prompt"
    stored = "Be brief.\n\nNow.</textarea>"
    assert personal_texts(alice) == {CUSTOM_PROMPT.key: stored}
    html = html_of(page.get(PATH))
    assert "Your instructions are saved." in html
    assert "Be brief.\n\nNow.&lt;/textarea&gt;</textarea>" in html
    post(page, "prompt", custom_prompt=" ")
    assert "You have no instructions now." in text_of(page)


def test_instructions_that_are_too_long_are_kept_in_the_box(page: Client, alice: User) -> None:
    html = html_of(post(page, "prompt", custom_prompt="x" * 131_073), 400)
    assert "Custom prompt exceeds maximum length." in html
    assert "x" * 131_073 in html
    assert personal_texts(alice) == {}


# what is said about each setting


def test_labels_and_hints_are_those_of_the_registry(page: Client, gpt: ModelConfig) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    put_site(DEBUG_LOGGING_ALLOWED, "true")
    html = text_of(page)
    for setting in PERSONAL_SETTINGS:
        assert setting.label in html
        assert setting.form_hint in html
        assert "`" not in setting.form_hint, "of no text form"
    assert html.count(IDLE) == sum(setting.is_idle for setting in PERSONAL_SETTINGS)


def test_no_effect_is_promised_where_there_is_none(page: Client, gpt: ModelConfig) -> None:
    idle = {setting.key for setting in PERSONAL_SETTINGS if setting.is_idle}
    effective = {CUSTOM_PROMPT.key, ROOT.key, COMPACTION_THRESHOLD.key, PERSONAL_DEBUG_LOGGING.key}
    assert idle == {setting.key for setting in PERSONAL_SETTINGS} - effective


# models


def test_models_cannot_be_chosen_unless_an_administrator_allows_it(
    page: Client, alice: User, gpt: ModelConfig
) -> None:
    assert "has not let people choose models" in text_of(page)
    html = html_of(post(page, "model:root", model=f"model:{gpt.pk}"), 403)
    assert "has not enabled user personal model overrides" in html
    assert personal_texts(alice) == {}


def test_a_model_is_chosen_for_own_chats_and_given_up_again(
    page: Client, alice: User, gpt: ModelConfig
) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    assert '<option value="chat_default" selected>The default model (Demo)' in text_of(page)
    for value in (f"model:{gpt.pk}", f"model:{gpt.pk}", "chat_default"):
        assert post(page, "model:root", model=value)["Location"] == f"{PATH}#model-root"
        assert personal_texts(alice) == {ROOT.key: value}
        assert f'<option value="{value}" selected>' in form_of(text_of(page), "model-root")


def test_the_chosen_model_is_picked_on_the_page_that_starts_a_chat(
    page: Client, alice: User, model: ModelConfig, gpt: ModelConfig
) -> None:
    def picked() -> str:
        return html_of(page.get("/chats")).partition(" selected>")[2].partition("<")[0]

    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    assert picked() == "Demo"
    post(page, "model:root", model=f"model:{gpt.pk}")
    assert picked() == "GPT"
    put_site(PERSONAL_OVERRIDES_ALLOWED, "false")
    assert picked() == "Demo", "it counts while it is allowed"


def test_sub_agents_follow_the_server_the_chat_or_a_model(
    page: Client, alice: User, gpt: ModelConfig
) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    put_site(MODEL_OVERRIDES[ModelOverrideContext.EXPLORE], str(gpt.pk))
    html = text_of(page)
    first = '<option value="deployment_default" selected>The choice of this server'
    assert f"{first} (the model of the chat)" in form_of(html, "model-general")
    assert f"{first} (GPT)" in form_of(html, "model-explore")
    for value in (f"model:{gpt.pk}", "chat_default", "deployment_default"):
        post(page, "model:general", model=value)
        assert personal_texts(alice) == {GENERAL.key: value}


def test_what_is_stored_and_cannot_be_understood_is_told_and_can_be_replaced(
    page: Client, alice: User, gpt: ModelConfig
) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    for setting in PERSONAL_OVERRIDES.values():
        put_personal(alice, setting, "nonsense")
    put_personal(alice, COMPACTION_THRESHOLD.of(gpt.pk), "many")
    put_personal(alice, COMPACTION_THRESHOLD.of("nonsense"), "50")
    html = text_of(page)
    assert html.count("cannot be understood") == 3
    assert "nonsense" not in html
    post(page, "model:root", model="chat_default")
    assert text_of(page).count("cannot be understood") == 2


def test_a_chosen_model_that_cannot_be_used_any_more_stays_chosen_and_says_so(
    page: Client, alice: User, gpt: ModelConfig
) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    put_personal(alice, ROOT, f"model:{gpt.pk}")
    put_personal(alice, GENERAL, f"model:{UNKNOWN}")
    ModelConfig.objects.filter(pk=gpt.pk).update(enabled=False)
    html = text_of(page)
    assert "selected>GPT (cannot be used now)" in form_of(html, "model-root")
    assert "selected>A model that is gone (cannot be used now)" in form_of(html, "model-general")


def test_only_models_that_one_can_pay_for_are_offered(page: Client, gpt: ModelConfig) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    assert "GPT" in form_of(text_of(page), "model-root")
    assert gpt.ai_provider is not None
    gpt.ai_provider.keys.all().delete()
    assert "GPT" not in form_of(text_of(page), "model-root")


@pytest.mark.parametrize("value", ["", "model:", "model:1", f"model:{UNKNOWN}", "fastest"])
@pytest.mark.parametrize("context", ["root", "general"])
def test_a_refused_model_says_why_beside_its_field(
    page: Client, alice: User, gpt: ModelConfig, context: str, value: str
) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    html = html_of(post(page, f"model:{context}", model=value), 400)
    assert f'id="model-{context}-model-error"' in html
    assert personal_texts(alice) == {}


# compaction


def test_a_percentage_is_chosen_for_a_model_and_left_to_it_again(
    page: Client, alice: User, gpt: ModelConfig
) -> None:
    key = COMPACTION_THRESHOLD.of(gpt.pk).key
    assert "Empty is the model's own: 70." in text_of(page)
    for _ in range(2):
        response = post(page, f"compaction:{gpt.pk}", threshold_percent=" 85 ")
        assert response["Location"] == f"{PATH}#compaction-{gpt.pk}"
        assert personal_texts(alice) == {key: "85"}
    assert 'value="85"' in form_of(text_of(page), f"compaction-{gpt.pk}")
    for _ in range(2):
        post(page, f"compaction:{gpt.pk}", threshold_percent="")
        assert personal_texts(alice) == {}


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("101", "must be 0 to 100."),
        ("-1", "must be 0 to 100."),
        ("9999999999", "must be 0 to 100."),
        ("many", "must be a whole number of percent"),
    ],
)
def test_a_refused_percentage_is_kept_with_the_reason(
    page: Client, alice: User, gpt: ModelConfig, typed: str, reason: str
) -> None:
    html = html_of(post(page, f"compaction:{gpt.pk}", threshold_percent=typed), 400)
    form = form_of(html, f"compaction-{gpt.pk}")
    assert f"GPT {reason}" in form
    assert f'value="{typed}"' in form
    assert personal_texts(alice) == {}


def test_a_model_that_is_gone_is_not_found_and_one_that_is_off_is_told(
    page: Client, gpt: ModelConfig
) -> None:
    for unknown in ("nonsense", UNKNOWN):
        assert post(page, f"compaction:{unknown}", threshold_percent="5").status_code == 404
    ModelConfig.objects.filter(pk=gpt.pk).update(enabled=False)
    html = html_of(post(page, f"compaction:{gpt.pk}", threshold_percent="5"), 400)
    assert "Model config is disabled." in html


# recording


def test_recording_is_off_limits_unless_an_administrator_allows_it(
    page: Client, alice: User
) -> None:
    assert "has not let people have their model calls recorded" in text_of(page)
    assert "has not enabled" in html_of(post(page, "recording", enabled="yes"), 403)
    assert personal_texts(alice) == {}


def test_recording_is_switched_on_and_off_where_it_is_allowed(page: Client, alice: User) -> None:
    put_site(DEBUG_LOGGING_ALLOWED, "true")
    assert " checked" not in form_of(text_of(page), "recording")
    for typed, stored in (({"enabled": "yes"}, "true"), ({}, "false")):
        assert post(page, "recording", **typed)["Location"] == f"{PATH}#recording"
        assert personal_texts(alice) == {PERSONAL_DEBUG_LOGGING.key: stored}
        assert (" checked" in form_of(text_of(page), "recording")) == (stored == "true")


def test_recording_that_the_deployment_forces_cannot_be_switched_off(
    page: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced = replace(debug_logging.env, force_debug_logging=True)
    monkeypatch.setattr(debug_logging, "env", forced)
    html = text_of(page)
    assert "You cannot switch that off." in html
    assert 'id="recording"' not in html
    assert "already forced on" in html_of(post(page, "recording"), 409)


# the limit


def spend_of(alice: User, micros: int) -> None:
    organization = alice.memberships.get().organization_id
    spend(micros, owner_id=alice.pk, organization_id=organization)


def test_without_a_limit_that_is_said(page: Client) -> None:
    assert "There is no limit on what your chats may cost." in text_of(page)


def test_a_person_sees_what_they_spent_of_which_limit_and_until_when(
    page: Client, alice: User
) -> None:
    limit_everybody(5_000_000, Period.WEEK)
    spend_of(alice, 1_250_000)
    html = text_of(page)
    assert "<strong>$1.25</strong> of <strong>$5.00</strong> this week." in html
    assert f'datetime="{window_of(Period.WEEK, now()).end.isoformat()}" data-local' in html
    assert "used up" not in html
    spend_of(alice, 3_750_000)
    assert "The limit is used up" in text_of(page)


# queries


def test_the_page_opens_in_as_many_queries_for_one_and_ten_models(
    page: Client, alice: User, gpt: ModelConfig
) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")
    put_site(DEBUG_LOGGING_ALLOWED, "true")
    limit_everybody(5_000_000)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page.get(PATH)
        return len(captured)

    before = queries()
    for number in range(9):
        row = ModelConfig(ai_provider=gpt.ai_provider, model=f"more-{number}")
        put_personal(alice, COMPACTION_THRESHOLD.of(save_model_config(row).pk), "5")
    assert queries() == before == 17
