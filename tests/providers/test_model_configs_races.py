"""Two administrators change models at the same moment: there is one default all the same."""

from collections.abc import Callable

import pytest

from chatd.accounts.actor import Actor
from chatd.core.errors import ChatdError
from chatd.providers import model_configs
from chatd.providers.model_configs import (
    ModelConfigFields,
    create_model_config,
    remove_model_config,
    save_model_config,
    update_model_config,
)
from chatd.providers.models import ModelConfig
from tests.chats.interleaving import Overlap
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)

Change = Callable[[], object]


@pytest.fixture
def overlap(monkeypatch: pytest.MonkeyPatch) -> Overlap:
    overlap = Overlap(monkeypatch)
    lock = overlap.holding(model_configs.lock_model_configs)
    monkeypatch.setattr(model_configs, "lock_model_configs", lock)
    return overlap


@pytest.fixture
def actor(cast: Cast) -> Actor:
    return Actor(cast.root)


@pytest.fixture
def add(actor: Actor, model: ModelConfig) -> Callable[..., Change]:
    def adding(name: str, *, is_default: bool = False) -> Change:
        fields = ModelConfigFields(
            ai_provider_id=model.ai_provider_id, model=name, context_limit=1, is_default=is_default
        )
        return lambda: create_model_config(actor, lambda: fields)

    return adding


def defaults() -> list[str]:
    live = ModelConfig.objects.filter(deleted=False, is_default=True)
    return list(live.values_list("model", flat=True))


def other(model: ModelConfig, name: str) -> ModelConfig:
    return save_model_config(ModelConfig(ai_provider=model.ai_provider, model=name))


def test_of_two_first_configs_one_is_the_default(
    model: ModelConfig, overlap: Overlap, add: Callable[..., Change]
) -> None:
    ModelConfig.objects.all().delete()
    overlap.run(add("a"), add("b"))
    assert ModelConfig.objects.count() == 2
    assert defaults() == ["a"]


def test_of_two_new_defaults_the_later_one_is_it(
    overlap: Overlap, add: Callable[..., Change]
) -> None:
    overlap.run(add("a", is_default=True), add("b", is_default=True))
    assert defaults() == ["b"]


def test_a_default_is_not_handed_to_one_that_is_being_deleted(
    model: ModelConfig, overlap: Overlap, actor: Actor
) -> None:
    heir, third = other(model, "a"), other(model, "b")
    outcomes = overlap.run(
        lambda: remove_model_config(actor, model.pk), lambda: remove_model_config(actor, heir.pk)
    )
    assert outcomes == (None, None)
    assert defaults() == [third.model]


def test_a_default_that_stops_while_the_other_goes_stays(
    model: ModelConfig, overlap: Overlap, actor: Actor
) -> None:
    heir = other(model, "a")
    overlap.run(
        lambda: remove_model_config(actor, heir.pk),
        lambda: update_model_config(actor, model.pk, lambda: ModelConfigFields(is_default=False)),
    )
    assert defaults() == [model.model]


def test_of_two_deletions_the_later_finds_nothing(
    model: ModelConfig, overlap: Overlap, actor: Actor
) -> None:
    first, second = overlap.run(*[lambda: remove_model_config(actor, model.pk)] * 2)
    assert first is None
    assert isinstance(second, ChatdError)
    assert second.http_status == 404


def test_two_changes_of_different_fields_both_count(
    model: ModelConfig, overlap: Overlap, actor: Actor
) -> None:
    overlap.run(
        lambda: update_model_config(
            actor, model.pk, lambda: ModelConfigFields(display_name="Name")
        ),
        lambda: update_model_config(actor, model.pk, lambda: ModelConfigFields(context_limit=5)),
    )
    model.refresh_from_db()
    assert (model.display_name, model.context_limit) == ("Name", 5)


def test_a_stale_form_does_not_bring_back_what_was_deleted(
    model: ModelConfig, actor: Actor
) -> None:
    stale = ModelConfig.objects.select_related("ai_provider").get(pk=model.pk)
    remove_model_config(actor, model.pk)
    with pytest.raises(ChatdError):
        save_model_config(stale)
    assert ModelConfig.objects.get(pk=model.pk).deleted
