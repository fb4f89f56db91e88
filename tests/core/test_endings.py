"""Clean-ups that come with a deletion, without the one who deletes knowing them."""

import pytest

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.users import USER_ENDINGS, delete_user
from chatd.core.endings import Endings
from chatd.core.fields import seal
from chatd.providers.models import ModelConfig, UserAIProviderKey
from tests.conftest import Cast


def test_every_clean_up_runs_once_however_often_it_was_registered() -> None:
    endings: Endings[[str]] = Endings()
    seen: list[str] = []
    endings.register(seen.append)
    endings.register(seen.append)
    endings.register(lambda name: seen.append(name.upper()))
    endings.carry_out("a")
    assert seen == ["a", "A"]


@pytest.mark.django_db
def test_whoever_deletes_a_person_deletes_their_provider_keys(
    cast: Cast, model: ModelConfig
) -> None:
    for user in (cast.alice, cast.bob):
        provider = model.ai_provider
        UserAIProviderKey.objects.create(user=user, provider=provider, api_key=seal("k"))
    delete_user(Actor(cast.root), "alice")
    assert [key.user for key in UserAIProviderKey.objects.all()] == [cast.bob]


@pytest.mark.django_db
def test_a_clean_up_that_fails_undoes_the_deletion(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(USER_ENDINGS, "_registered", [*USER_ENDINGS._registered, fail])
    with pytest.raises(RuntimeError):
        delete_user(Actor(cast.root), "alice")
    assert User.objects.live().filter(username="alice").exists()
