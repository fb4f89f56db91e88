"""Settings that name models: overrides of the deployment, one's own, thresholds, the advisor."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from chatd.audit.models import AuditEntry
from chatd.core.fields import seal
from chatd.preferences.registry import (
    COMPACTION_THRESHOLD,
    MODEL_OVERRIDES,
    PERSONAL_OVERRIDES,
    PERSONAL_OVERRIDES_ALLOWED,
    PersonalOverrideContext,
)
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import delete_model_config, save_model_config
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig
from tests.api.client import NIL, NOT_FOUND, Api, text_part
from tests.conftest import Cast
from tests.support.settings import personal_texts, put_personal, put_site, site_texts

BAD_JSON = "Request body must be valid JSON."
UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"
CONTEXTS = ["general", "explore", "title_generation"]
OWN = "/chats/config/user-personal-model-overrides"
THRESHOLDS = "/chats/config/user-compaction-thresholds"
ADVISOR = "/chats/config/advisor"


def override(context: str) -> str:
    return f"/chats/config/model-override/{context}"


@pytest.fixture
def other(model: ModelConfig) -> ModelConfig:
    """A second model, with a provider of its own."""
    provider = AIProvider(type="openai", name="other", base_url="http://127.0.0.1:9/v1")
    save_provider(provider, new_key="a-key")
    return save_model_config(ModelConfig(ai_provider=provider, model="other"))


def disable(config: ModelConfig) -> None:
    config.enabled = False
    save_model_config(config)


def disable_provider(config: ModelConfig) -> None:
    assert config.ai_provider is not None
    config.ai_provider.enabled = False
    save_provider(config.ai_provider)


def delete_provider(config: ModelConfig) -> None:
    AIProvider.objects.filter(pk=config.ai_provider_id).update(deleted=True)


def take_key(config: ModelConfig) -> None:
    AIProviderKey.objects.filter(provider=config.ai_provider_id).update(api_key=seal(""))


# Overrides of the deployment


@pytest.mark.parametrize("context", CONTEXTS)
def test_an_override_names_a_model_until_it_is_cleared(context, root: Api, other) -> None:
    for raw in (str(other.pk), f" {str(other.pk).upper()} "):
        assert root.put(override(context), {"model_config_id": raw}).status == 204
        assert root.get(override(context)).body == {
            "context": context,
            "model_config_id": str(other.pk),
            "is_malformed": False,
        }
    for elsewhere in set(CONTEXTS) - {context}:
        assert root.get(override(elsewhere)).body["model_config_id"] == ""
    for cleared in ("", " \t"):
        assert root.put(override(context), {"model_config_id": cleared}).status == 204
        assert root.get(override(context)).body["model_config_id"] == ""


@pytest.mark.parametrize("raw", ["x", "0", f"{{{UNKNOWN}}}", f"urn:uuid:{UNKNOWN}", "\x00"])
def test_what_is_no_id_is_told_with_its_value(raw: str, root: Api, model) -> None:
    answer = root.put(override("general"), {"model_config_id": raw})
    assert (answer.status, answer.body) == (
        400,
        {"message": "Invalid model_config_id.", "detail": f'Value "{raw}" is not a valid UUID.'},
    )
    assert site_texts() == {}


SPOILT: dict[str, Callable[[ModelConfig], Any]] = {
    "disabled": disable,
    "deleted": delete_model_config,
    "provider disabled": disable_provider,
    "provider deleted": delete_provider,
}


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_model_that_is_not_on_cannot_be_named(spoil: str, root: Api, other) -> None:
    SPOILT[spoil](other)
    answer = root.put(override("general"), {"model_config_id": str(other.pk)})
    assert (answer.status, answer.message) == (400, "Invalid model_config_id.")
    assert answer.detail
    assert site_texts() == {}


@pytest.mark.parametrize("raw", [NIL, UNKNOWN])
def test_the_nil_id_and_unknown_ones_name_no_model(raw: str, root: Api, model) -> None:
    answer = root.put(override("explore"), {"model_config_id": raw})
    assert (answer.status, answer.message) == (400, "Invalid model_config_id.")


@pytest.mark.parametrize("context", ["root", "General", "x", "%00"])
def test_an_unknown_context_is_told_after_the_rights(context: str, root: Api, alice: Api) -> None:
    shown = context.replace("%00", "\x00")
    for answer in (root.get(override(context)), root.put(override(context), {})):
        assert (answer.status, answer.body) == (
            400,
            {
                "message": "Invalid chat model override context.",
                "detail": f'Expected one of general, explore, title_generation. Got "{shown}".',
            },
        )
    assert alice.get(override(context)).status == 404
    assert alice.put(override(context), {}).status == 403


def test_the_context_comes_before_the_body(root: Api) -> None:
    answer = root.put(override("x"), raw=b"{nonsense")
    assert answer.message == "Invalid chat model override context."
    assert root.put(override("general"), raw=b"{nonsense").message == BAD_JSON


@pytest.mark.parametrize("text", ["x", NIL, "null", "\x00", f"model:{UNKNOWN}"])
def test_a_stored_override_that_cannot_be_understood_is_told(text: str, root: Api) -> None:
    for context, setting in MODEL_OVERRIDES.items():
        put_site(setting, text)
        assert root.get(override(context)).body == {
            "context": str(context),
            "model_config_id": "",
            "is_malformed": True,
        }


def test_a_stored_override_is_shown_though_its_model_is_gone(root: Api) -> None:
    for setting in MODEL_OVERRIDES.values():
        put_site(setting, UNKNOWN)
    assert root.get(override("general")).body["model_config_id"] == UNKNOWN


# The advisor


@pytest.mark.parametrize("spoil", [None, *SPOILT])
def test_the_advisor_takes_every_model_that_exists(spoil: str | None, root: Api, other) -> None:
    if spoil:
        SPOILT[spoil](other)
    answer = root.put(ADVISOR, {"model_config_id": str(other.pk)})
    if spoil == "deleted":
        assert (answer.status, answer.message) == (
            400,
            f'model_config_id "{other.pk}" does not match any existing model config.',
        )
        assert site_texts() == {}
        return
    assert answer.status == 204
    assert root.get(ADVISOR).body["model_config_id"] == str(other.pk)


@pytest.mark.parametrize("name", ["max_uses_per_run", "max_output_tokens"])
def test_negative_numbers_are_told_before_an_unknown_model(name: str, root: Api) -> None:
    answer = root.put(ADVISOR, {name: -1, "model_config_id": UNKNOWN})
    assert (answer.status, answer.body) == (400, {"message": f"{name} -1 must be non-negative."})


def test_an_advisor_replaces_the_whole_one(root: Api, alice: Api, other) -> None:
    whole = {
        "enabled": True,
        "max_uses_per_run": 2**63 - 1,
        "max_output_tokens": 1,
        "model_config_id": str(other.pk),
    }
    assert root.put(ADVISOR, whole).status == 204
    assert alice.get(ADVISOR).body == whole
    assert root.put(ADVISOR, {"max_output_tokens": 5, "model_config_id": NIL}).status == 204
    assert alice.get(ADVISOR).body == {
        "enabled": False,
        "max_uses_per_run": 0,
        "max_output_tokens": 5,
        "model_config_id": NIL,
    }


@pytest.mark.parametrize("wrong", ["", "x", 1, "{" + NIL + "}"])
def test_the_model_of_an_advisor_is_an_id(wrong: Any, root: Api) -> None:
    assert root.put(ADVISOR, {"model_config_id": wrong}).message == BAD_JSON


# One's own overrides


@pytest.fixture
def allowed(db: None) -> None:
    put_site(PERSONAL_OVERRIDES_ALLOWED, "true")


def unset(context: str) -> dict[str, Any]:
    mode = "chat_default" if context == "root" else "deployment_default"
    return {
        "context": context,
        "mode": mode,
        "model_config_id": "",
        "is_set": False,
        "is_malformed": False,
    }


def nothing_named(context: str) -> dict[str, Any]:
    return {"context": context, "model_config_id": "", "is_malformed": False}


def test_overrides_are_shown_also_while_they_do_not_count(alice: Api) -> None:
    assert alice.get(OWN).body == {
        "enabled": False,
        "root": unset("root"),
        "general": unset("general"),
        "explore": unset("explore"),
        "deployment_defaults": {
            "general": nothing_named("general"),
            "explore": nothing_named("explore"),
        },
    }


def test_the_models_of_the_deployment_are_shown_beside_ones_own(alice, root, other) -> None:
    root.put(override("explore"), {"model_config_id": str(other.pk)})
    root.put("/chats/config/personal-model-overrides", {"allow_users": True})
    shown = alice.get(OWN).body
    assert shown["enabled"] is True
    assert shown["deployment_defaults"] == {
        "general": nothing_named("general"),
        "explore": nothing_named("explore") | {"model_config_id": str(other.pk)},
    }


CHOICES = [
    ("root", "chat_default"),
    ("general", "chat_default"),
    ("general", "deployment_default"),
    ("explore", "chat_default"),
    ("explore", "deployment_default"),
]


@pytest.mark.parametrize(("context", "mode"), CHOICES)
def test_a_mode_is_chosen_for_a_context(context, mode, alice: Api, bob: Api, allowed, cast) -> None:
    for body in ({"mode": mode}, {"mode": mode, "model_config_id": " "}):
        assert alice.put(f"{OWN}/{context}", body).status == 204
        shown = alice.get(OWN).body
        assert shown[context] == unset(context) | {"mode": mode, "is_set": True}
    for elsewhere in {"root", "general", "explore"} - {context}:
        assert shown[elsewhere] == unset(elsewhere)
    assert bob.get(OWN).body[context] == unset(context)
    assert not AuditEntry.objects.filter(resource_type="setting").exists()


@pytest.mark.parametrize("context", PersonalOverrideContext)
def test_a_model_is_chosen_for_a_context(context, alice: Api, allowed, other, cast: Cast) -> None:
    body = {"mode": "model", "model_config_id": f" {str(other.pk).upper()}"}
    for _ in range(2):
        assert alice.put(f"{OWN}/{context}", body).status == 204
    assert alice.get(OWN).body[context] == {
        "context": str(context),
        "mode": "model",
        "model_config_id": str(other.pk),
        "is_set": True,
        "is_malformed": False,
    }
    assert personal_texts(cast.alice) == {
        f"chat_personal_model_override:{context}": f"model:{other.pk}"
    }


def test_whether_it_is_allowed_comes_first_and_the_context_before_the_body(alice, root) -> None:
    def message(context: str) -> tuple[int, str]:
        answer = alice.put(f"{OWN}/{context}", raw=b"{nonsense")
        return answer.status, answer.message

    refused = (403, "An administrator has not enabled user personal model overrides.")
    assert message("x") == message("root") == refused
    root.put("/chats/config/personal-model-overrides", {"allow_users": True})
    assert message("x") == (400, "Invalid chat personal model override context.")
    assert message("root") == (400, BAD_JSON)


def test_an_unknown_context_of_ones_own_is_told(alice: Api, allowed) -> None:
    answer = alice.put(f"{OWN}/title_generation", {"mode": "chat_default"})
    assert answer.detail == 'Expected one of root, general, explore. Got "title_generation".'


INVALID = "Invalid model_config_id"
NOT_FOUND_OR_OFF = f"{INVALID}: model config not found or disabled."
REFUSED = [
    ("root", {}, "Invalid personal model override mode."),
    ("root", {"mode": "Model"}, "Invalid personal model override mode."),
    ("general", {"mode": "x", "model_config_id": "x"}, "Invalid personal model override mode."),
    (
        "root",
        {"mode": "deployment_default", "model_config_id": "x"},
        "deployment_default is not supported for root personal model overrides.",
    ),
    (
        "general",
        {"mode": "deployment_default", "model_config_id": "x"},
        "model_config_id must be empty unless mode is model.",
    ),
    (
        "root",
        {"mode": "chat_default", "model_config_id": NIL},
        "model_config_id must be empty unless mode is model.",
    ),
    ("root", {"mode": "model"}, "model_config_id is required when mode is model."),
    (
        "explore",
        {"mode": "model", "model_config_id": " "},
        "model_config_id is required when mode is model.",
    ),
    ("root", {"mode": "model", "model_config_id": "x"}, f"{INVALID}."),
    ("root", {"mode": "model", "model_config_id": NIL}, f"{INVALID}."),
    ("root", {"mode": "model", "model_config_id": UNKNOWN}, NOT_FOUND_OR_OFF),
]


@pytest.mark.parametrize(("context", "body", "message"), REFUSED)
def test_a_choice_that_means_nothing_is_refused(context, body, message, alice, allowed, cast):
    answer = alice.put(f"{OWN}/{context}", body)
    assert (answer.status, answer.message) == (400, message)
    assert personal_texts(cast.alice) == {}


UNUSABLE: dict[str, tuple[Callable[[ModelConfig], Any], str]] = {
    "disabled": (disable, NOT_FOUND_OR_OFF),
    "deleted": (delete_model_config, NOT_FOUND_OR_OFF),
    "provider disabled": (
        disable_provider,
        f"{INVALID}: provider is not enabled for this model.",
    ),
    "provider deleted": (delete_provider, f"{INVALID}: provider is not enabled for this model."),
    "without a key": (
        take_key,
        f"{INVALID}: provider credentials unavailable for this model.",
    ),
}


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_a_model_that_cannot_be_used_cannot_be_chosen(spoil, alice, allowed, other, cast) -> None:
    change, message = UNUSABLE[spoil]
    change(other)
    body = {"mode": "model", "model_config_id": str(other.pk)}
    answer = alice.put(f"{OWN}/general", body)
    assert (answer.status, answer.message) == (400, message)
    assert personal_texts(cast.alice) == {}


@pytest.mark.parametrize(
    "text",
    ["x", "model", "model:", "model:x", f"model:{NIL}", f"Model:{UNKNOWN}", "chat_default:x", "\0"],
)
def test_a_stored_choice_that_cannot_be_understood_is_the_default(text, alice, cast: Cast) -> None:
    for setting in PERSONAL_OVERRIDES.values():
        put_personal(cast.alice, setting, text)
    shown = alice.get(OWN).body
    for context in PersonalOverrideContext:
        assert shown[context] == unset(context) | {"is_set": True, "is_malformed": True}


def test_the_deployments_model_is_no_choice_for_ones_own_chats(alice: Api, cast: Cast) -> None:
    for setting in PERSONAL_OVERRIDES.values():
        put_personal(cast.alice, setting, "deployment_default")
    shown = alice.get(OWN).body
    assert shown["root"] == unset("root") | {"is_set": True, "is_malformed": True}
    assert shown["general"] == unset("general") | {"is_set": True}


def test_an_empty_text_is_no_choice(alice: Api, cast: Cast) -> None:
    put_personal(cast.alice, PERSONAL_OVERRIDES[PersonalOverrideContext.ROOT], "")
    assert alice.get(OWN).body["root"] == unset("root")


def test_overrides_cost_two_queries_beside_the_token(alice, django_assert_num_queries) -> None:
    alice.get(OWN)  # the first use of a token is recorded
    with django_assert_num_queries(3):
        alice.get(OWN)


# Which model a new chat uses


def model_of_a_new_chat(api: Api, **fields: Any) -> str:
    created = api.post("/chats", {"content": [text_part()], **fields})
    assert created.status == 201
    return str(created.body["last_model_config_id"])


def choose_root(api: Api, config: ModelConfig) -> None:
    body = {"mode": "model", "model_config_id": str(config.pk)}
    assert api.put(f"{OWN}/root", body).status == 204


def test_a_new_chat_uses_the_model_its_owner_chose(alice, bob, allowed, model, other) -> None:
    choose_root(alice, other)
    assert model_of_a_new_chat(alice) == str(other.pk)
    assert model_of_a_new_chat(bob) == str(model.pk)
    assert model_of_a_new_chat(alice, model_config_id=str(model.pk)) == str(model.pk)
    alice.put(f"{OWN}/root", {"mode": "chat_default"})
    assert model_of_a_new_chat(alice) == str(model.pk)


def test_a_choice_that_is_not_allowed_any_more_is_kept_but_idle(
    alice, root, allowed, model, other
) -> None:
    choose_root(alice, other)
    for allow, expected in ((False, model), (True, other)):
        root.put("/chats/config/personal-model-overrides", {"allow_users": allow})
        assert model_of_a_new_chat(alice) == str(expected.pk)


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_a_choice_that_cannot_be_used_falls_back_silently(
    spoil, alice, allowed, model, other
) -> None:
    choose_root(alice, other)
    UNUSABLE[spoil][0](other)
    assert model_of_a_new_chat(alice) == str(model.pk)


def test_a_choice_that_cannot_be_understood_falls_back_silently(alice, allowed, model, cast):
    put_personal(cast.alice, PERSONAL_OVERRIDES[PersonalOverrideContext.ROOT], "model:x")
    assert model_of_a_new_chat(alice) == str(model.pk)


# When history is summarised


def threshold(config: ModelConfig | str) -> str:
    return f"{THRESHOLDS}/{config if isinstance(config, str) else config.pk}"


@pytest.mark.parametrize("percent", [0, 1, 100])
def test_a_threshold_is_answered_and_listed(percent, alice: Api, bob: Api, model) -> None:
    expected = {"model_config_id": str(model.pk), "threshold_percent": percent}
    for raw in (str(model.pk), str(model.pk).upper()):
        answer = alice.put(threshold(raw), {"threshold_percent": percent})
        assert (answer.status, answer.body) == (200, expected)
    assert alice.get(THRESHOLDS).body == {"thresholds": [expected]}
    assert bob.get(THRESHOLDS).body == {"thresholds": []}


def test_an_absent_threshold_is_0(alice: Api, model) -> None:
    for body in ({}, {"threshold_percent": None}):
        assert alice.put(threshold(model), body).body["threshold_percent"] == 0


def test_a_threshold_is_deleted_once_and_again(alice: Api, bob: Api, model, other) -> None:
    for api in (alice, bob):
        for config in (model, other):
            api.put(threshold(config), {"threshold_percent": 5})
    for _ in range(2):
        assert alice.delete(threshold(model)).status == 204
    assert [each["model_config_id"] for each in alice.get(THRESHOLDS).body["thresholds"]] == [
        str(other.pk)
    ]
    assert len(bob.get(THRESHOLDS).body["thresholds"]) == 2
    assert alice.delete(threshold(UNKNOWN)).status == 204


@pytest.mark.parametrize(
    ("percent", "rule"), [(-1, "min"), (101, "max"), (2**31 - 1, "max"), (-(2**31), "min")]
)
def test_a_threshold_is_a_percentage(percent: int, rule: str, alice: Api, model) -> None:
    answer = alice.put(threshold(model), {"threshold_percent": percent})
    assert (answer.status, answer.body) == (
        400,
        {
            "message": "Validation failed.",
            "validations": [
                {
                    "field": "threshold_percent",
                    "detail": f'Validation failed for tag "{rule}" with value: "{percent}"',
                }
            ],
        },
    )
    assert alice.get(THRESHOLDS).body == {"thresholds": []}


@pytest.mark.parametrize("wrong", ["50", 50.5, True, [], 2**31])
def test_a_threshold_is_a_whole_number(wrong: Any, alice: Api, model) -> None:
    assert alice.put(threshold(model), {"threshold_percent": wrong}).message == BAD_JSON


@pytest.mark.parametrize("raw", ["x", "1", f"{{{UNKNOWN}}}", "%00", "%ff"])
def test_a_threshold_is_for_an_id(raw: str, alice: Api) -> None:
    for answer in (
        alice.put(threshold(raw), raw=b"{nonsense"),
        alice.delete(threshold(raw)),
    ):
        assert (answer.status, answer.message) == (400, "Invalid chat model config ID.")


def test_a_threshold_is_for_a_model_that_is_on(alice: Api, other) -> None:
    body = {"threshold_percent": 50}
    assert (alice.put(threshold(UNKNOWN), body).body) == NOT_FOUND
    disable_provider(other)
    assert alice.put(threshold(other), body).status == 200
    disable(other)
    answer = alice.put(threshold(other), body)
    assert (answer.status, answer.body) == (400, {"message": "Model config is disabled."})
    assert len(alice.get(THRESHOLDS).body["thresholds"]) == 1
    delete_model_config(other)
    assert alice.put(threshold(other), body).status == 404


def test_stored_thresholds_that_cannot_be_understood_are_left_out(alice: Api, cast: Cast) -> None:
    good = uuid4()
    for key, text in (
        ("x", "50"),
        ("", "50"),
        (str(uuid4()), "101"),
        (str(uuid4()), "-1"),
        (str(uuid4()), "half"),
        (str(uuid4()), ""),
        (str(good), "50"),
    ):
        put_personal(cast.alice, COMPACTION_THRESHOLD.of(key), text)
    assert alice.get(THRESHOLDS).body == {
        "thresholds": [{"model_config_id": str(good), "threshold_percent": 50}]
    }


@pytest.mark.parametrize("count", [1, 50])
def test_the_list_costs_one_query_beside_the_token(
    count, alice: Api, cast: Cast, django_assert_num_queries
) -> None:
    for _ in range(count):
        put_personal(cast.alice, COMPACTION_THRESHOLD.of(uuid4()), "50")
    alice.get(THRESHOLDS)  # the first use of a token is recorded
    with django_assert_num_queries(2):
        assert len(alice.get(THRESHOLDS).body["thresholds"]) == count
