"""Fixtures of the state machine's tests: a recorder in place of the live backend."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatd.chats import partial, transition
from chatd.chats.models import Chat
from chatd.providers.models import ModelConfig
from tests.chats.recorder import Recorder
from tests.conftest import Cast
from tests.support.people import pending_chat


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Everything transitions publish, and whom they wake."""
    recorder = Recorder()
    monkeypatch.setattr(transition, "live_backend", lambda: recorder)
    monkeypatch.setattr(
        transition, "enqueue_turn", lambda chat_id, owner_id: recorder.woken.append(chat_id)
    )
    monkeypatch.setattr(partial, "live_backend", lambda: recorder)
    return recorder


@pytest.fixture
def new_chat(cast: Cast, model: ModelConfig, recorder: Recorder) -> Callable[..., Chat]:
    """Make a pending chat of alice."""

    def create(**fields: Any) -> Chat:
        return pending_chat(cast.alice, cast.organization, model, **fields)

    return create
