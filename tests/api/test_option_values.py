"""Every option of a model over the API: what is taken is kept, what is not is named."""

import pytest

from chatd.providers.models import ModelConfig
from tests.api.client import Api
from tests.support.option_values import EVERY, Tried

PATH = "/chats/model-configs"

each_option = pytest.mark.parametrize("tried", EVERY, ids=[each.name for each in EVERY])


@each_option
def test_a_value_that_is_known_is_kept_as_it_was_given(
    root: Api, model: ModelConfig, tried: Tried
) -> None:
    for value in tried.taken:
        answer = root.patch(f"{PATH}/{model.pk}", {"model_config": tried.config(value)})
        assert answer.status == 200, value
        assert answer.body["model_config"] == tried.config(value)


@each_option
def test_a_value_that_is_not_taken_is_refused_with_its_field(
    root: Api, model: ModelConfig, tried: Tried
) -> None:
    field = f"model_config.{tried.name}"
    for value in tried.refused:
        answer = root.patch(f"{PATH}/{model.pk}", {"model_config": tried.config(value)})
        assert answer.status == 400, value
        (named,) = answer.body["validations"]
        assert named["field"] == field or named["field"].startswith(f"{field}["), value
        assert named["detail"] == answer.body["detail"]
        assert field in named["detail"]
    model.refresh_from_db()
    assert model.options == {}


@each_option
def test_what_is_blank_or_null_is_unset(root: Api, model: ModelConfig, tried: Tried) -> None:
    blank = [None, " "] if tried.option.values and tried.option.type == "enum" else [None]
    for value in blank:
        answer = root.patch(f"{PATH}/{model.pk}", {"model_config": tried.config(value)})
        assert answer.status == 200
        assert tried.option.key not in str(answer.body.get("model_config", ""))


def test_a_new_model_is_refused_with_all_fields_that_are_wrong(
    root: Api, model: ModelConfig
) -> None:
    options = {"temperature": 9, "provider_options": {"openaicompat": {"reasoning_effort": "most"}}}
    body = {
        "ai_provider_id": str(model.ai_provider_id),
        "model": "new",
        "context_limit": 1000,
        "model_config": options,
    }
    answer = root.post(PATH, body)
    assert (answer.status, answer.body["message"]) == (400, "Invalid model config.")
    assert [each["field"] for each in answer.body["validations"]] == [
        "model_config.temperature",
        "model_config.provider_options.openaicompat.reasoning_effort",
    ]
    assert answer.body["detail"] == "model_config.temperature must be from 0 to 2."
    assert ModelConfig.objects.count() == 1


def test_what_was_stored_before_it_was_checked_is_shown_and_refused_when_it_is_sent_again(
    root: Api, model: ModelConfig
) -> None:
    old = {"top_p": 7.0, "provider_options": {"openaicompat": {"reasoning_effort": "most"}}}
    ModelConfig.objects.filter(pk=model.pk).update(options=old)
    path = f"{PATH}/{model.pk}"
    (shown,) = [each for each in root.get(PATH).body if each["id"] == str(model.pk)]
    assert shown["model_config"] == old
    assert root.patch(path, {"display_name": "Other"}).body["model_config"] == old
    assert root.patch(path, {"model_config": old}).status == 400
    assert root.patch(path, {"model_config": {"top_p": 0.5}}).status == 200
