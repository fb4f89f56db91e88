"""Fixtures of the API tests: clients of the cast, and chats of alice."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from chatd.accounts.models import OrganizationMember, OrganizationRole, User
from chatd.chats import selectors, sharing
from chatd.providers.models import ModelConfig
from config.env import read_environment
from tests.api.client import Api, Chats, api_of
from tests.conftest import Cast


@pytest.fixture
def chats(cast: Cast, model: ModelConfig) -> Chats:
    return Chats(cast.alice, cast.organization, model)


@pytest.fixture
def alice(cast: Cast) -> Api:
    return api_of(cast.alice)


@pytest.fixture
def bob(cast: Cast) -> Api:
    return api_of(cast.bob)


@pytest.fixture
def carol(cast: Cast) -> Api:
    return api_of(cast.carol)


@pytest.fixture
def root(cast: Cast) -> Api:
    return api_of(cast.root)


@pytest.fixture
def admin(cast: Cast) -> Api:
    """bob as the administrator of the organisation."""
    make_admin(cast.bob)
    return api_of(cast.bob)


@pytest.fixture
def hashes(settings: Any) -> None:
    """Passwords whose hashes cost nothing."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def without_access(cast: Cast) -> Callable[[], None]:
    """Take *agents-access* away from every member who holds no role of their own."""

    def take() -> None:
        cast.organization.default_org_member_roles = []
        cast.organization.save()

    return take


@pytest.fixture
def disable(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Switch sharing off for the deployment."""

    def switch() -> None:
        off = read_environment({"CHATD_DISABLE_SHARING": "true"}).sharing_disabled
        for module in (selectors, sharing):
            switched = dataclasses.replace(module.env, sharing_disabled=off)
            monkeypatch.setattr(module, "env", switched)

    return switch


def make_admin(user: User) -> None:
    OrganizationMember.objects.filter(user=user).update(roles=[OrganizationRole.ADMIN.value])
