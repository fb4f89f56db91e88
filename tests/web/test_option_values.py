"""Every option of a model in the administration: what is not taken is refused at its field."""

import json
from typing import Any

import pytest
from django.test import Client

from chatd.llm.options import OptionType
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from tests.conftest import Cast
from tests.support.option_values import EVERY, UNKNOWN, Tried
from tests.web.administration import model_form

ADD = "/admin/providers/modelconfig/add/"

each_option = pytest.mark.parametrize("tried", EVERY, ids=[each.name for each in EVERY])


@pytest.fixture
def root(client: Client, cast: Cast) -> Client:
    client.force_login(cast.root)
    return client


@pytest.fixture
def provider(db: None, tried: Tried) -> AIProvider:
    return AIProvider.objects.create(type=tried.kind, name="p", base_url="http://127.0.0.1:9/v1")


def typed(tried: Tried, value: Any) -> str:
    """Return a value as a person enters it."""
    match tried.option.type:
        case OptionType.LIST if tried.option.items is OptionType.TEXT:
            return "\n".join(value)
        case OptionType.LIST | OptionType.OBJECT:
            return json.dumps(value)
        case OptionType.BOOLEAN:
            return str(value).lower()
        case _:
            return str(value)


def nonsense(tried: Tried) -> list[str]:
    match tried.option.type:
        case OptionType.TEXT:
            return []
        case OptionType.LIST if tried.option.items is OptionType.TEXT:
            return []
        case _:
            return [UNKNOWN]


def post(root: Client, tried: Tried, provider: AIProvider, text: str) -> Any:
    return root.post(ADD, model_form(provider, **{f"option:{tried.name}": text}))


@each_option
def test_a_value_that_is_known_is_stored(root: Client, provider: AIProvider, tried: Tried) -> None:
    for value in tried.taken:
        assert post(root, tried, provider, typed(tried, value)).status_code == 302, value
        stored: Any = ModelConfig.objects.get().options
        for key in tried.path:
            stored = stored[key]
        known = tried.option.values if tried.option.type is OptionType.ENUM else ()
        assert stored in known if known else stored == value
        ModelConfig.objects.all().delete()


@each_option
def test_a_value_that_is_not_taken_is_refused_at_its_field(
    root: Client, provider: AIProvider, tried: Tried
) -> None:
    for text in [*nonsense(tried), *(typed(tried, value) for value in tried.beyond)]:
        answer = post(root, tried, provider, text)
        assert answer.status_code == 200, text
        assert list(answer.context["adminform"].form.errors) == [f"option:{tried.name}"], text
    assert not ModelConfig.objects.exists()


@pytest.mark.parametrize(
    "tried",
    [each for each in EVERY if each.beyond and each.option.type is OptionType.ENUM],
    ids=lambda tried: tried.name,
)
def test_a_stored_value_that_nobody_knows_is_shown_and_refused_until_it_is_changed(
    root: Client, provider: AIProvider, tried: Tried
) -> None:
    config = save_model_config(
        ModelConfig(ai_provider=provider, model="m", options=tried.config(UNKNOWN))
    )
    page = f"/admin/providers/modelconfig/{config.pk}/change/"
    name = f"option:{tried.name}"
    assert root.get(page).context["adminform"].form[name].value() == UNKNOWN
    posted = model_form(provider, model="m", **{name: UNKNOWN})
    assert list(root.post(page, posted).context["adminform"].form.errors) == [name]
    assert root.post(page, {**posted, name: tried.option.values[0]}).status_code == 302
