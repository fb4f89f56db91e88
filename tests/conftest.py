"""Fixtures of all tests: the cast, a model, a clean live layer.

alice owns chats, bob is a member beside her, carol is an outsider of the organisation, root is
the site owner.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings

from chatd.accounts import backends
from chatd.accounts.actions import create_organization, create_user
from chatd.accounts.models import Organization, SiteRole, User
from chatd.accounts.oidc import provider
from chatd.api import files, limits, views
from chatd.live import rates
from chatd.live.backend import live_backend
from chatd.live.rates import rate_counter
from chatd.providers import keys
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.sockets import handshake, server
from chatd.turns import scrape
from config.env import env
from tests.support.flushing import empty_tables
from tests.support.metrics import Exposition

# what takes long says something about the machine, and nothing about what is tested
settings.register_profile("chatd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chatd")

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True, scope="session")
def _quick_flush() -> Iterator[None]:
    """What tests commit is deleted after each of them, with little work."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_tables())
        yield


@pytest.fixture(autouse=True)
def _fresh_live_layer(request: pytest.FixtureRequest) -> Iterator[None]:
    """Parts, doorbells and counted requests of one test never reach another."""
    live_backend.cache_clear()
    rate_counter.cache_clear()
    provider.forget_documents()
    yield
    live_backend.cache_clear()


@dataclass(frozen=True)
class Cast:
    """The people of a test, and the organisation that alice and bob are in."""

    organization: Organization
    alice: User
    bob: User
    carol: User
    root: User


@pytest.fixture
def cast(db: None) -> Cast:
    """People without usable passwords: hashing one costs more than the rest of a test."""
    root = create_user(
        username="root", email="root@example.com", password=None, site_roles=[SiteRole.OWNER]
    )
    organization = Organization.objects.get(is_default=True)
    elsewhere = create_organization(name="elsewhere")
    return Cast(
        organization=organization,
        alice=create_user(username="alice", email="alice@example.com", password=None),
        bob=create_user(username="bob", email="bob@example.com", password=None),
        carol=create_user(
            username="carol", email="carol@example.com", password=None, organizations=[elsewhere]
        ),
        root=root,
    )


@pytest.fixture
def model(db: None) -> ModelConfig:
    """The default model, of a provider that nothing listens behind."""
    provider = save_provider(
        AIProvider(type=ProviderType.OPENAI_COMPAT, name="fake", base_url="http://127.0.0.1:9/v1"),
        new_key="fake-provider-key",
    )
    return save_model_config(ModelConfig(ai_provider=provider, model="fake-model"))


@pytest.fixture
def exposed(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Exposition]:
    """Read the metrics of this process; nobody asks the database."""
    monkeypatch.setattr(scrape, "waiting_chats", lambda: None)
    return lambda: Exposition(scrape.exposition().decode())


@pytest.fixture
def redis_url() -> str:
    """A real Redis, or a skip that says so."""
    url = os.environ.get("CHATD_TEST_REDIS_URL", "")
    if not url:
        pytest.skip("no Redis: set CHATD_TEST_REDIS_URL or install redis-server")
    return url


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change settings that rate limits go by, for one test."""

    def change(**settings: Any) -> None:
        changed = replace(env, **settings)
        for module in (backends, files, handshake, limits, provider, rates, server, views):
            monkeypatch.setattr(module, "env", changed)

    return change


@pytest.fixture
def byok(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Allow keys of one's own in the deployment, or not, for one test."""

    def switch(allowed: bool) -> None:
        monkeypatch.setattr(keys, "env", replace(env, allow_byok=allowed))

    return switch


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """The wall clock, standing at the beginning of a minute that has not come yet."""
    with time_machine.travel(time.time() // 60 * 60 + 60, tick=False) as traveller:
        yield traveller


@pytest.fixture(scope="module")
def chrome() -> Iterator["Browser"]:
    """A real browser for the tests of a module."""
    from tests.support.browser import started_chrome  # takes a moment, which few tests need

    with started_chrome() as browser:
        yield browser
