"""Fixtures of the socket tests: a server, chats of alice, tokens of the cast."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from chatd.providers.models import ModelConfig
from tests.api.client import Chats
from tests.api.conftest import make_admin
from tests.conftest import Cast
from tests.sockets.live import LiveServer
from tests.support.people import token_for


@dataclass(frozen=True)
class Tokens:
    """A token of each of the cast; `admin` is bob as the organisation's administrator."""

    cast: Cast

    @property
    def alice(self) -> str:
        return token_for(self.cast.alice)

    @property
    def bob(self) -> str:
        return token_for(self.cast.bob)

    @property
    def carol(self) -> str:
        return token_for(self.cast.carol)

    @property
    def root(self) -> str:
        return token_for(self.cast.root)

    @property
    def admin(self) -> str:
        make_admin(self.cast.bob)
        return self.bob


@pytest.fixture
def chats(transactional_db: None, cast: Cast, model: ModelConfig) -> Chats:
    return Chats(cast.alice, cast.organization, model)


@pytest.fixture
def tokens(transactional_db: None, cast: Cast) -> Tokens:
    return Tokens(cast)


@pytest.fixture
def server(transactional_db: None) -> Iterator[LiveServer]:
    with LiveServer() as running:
        yield running
