"""What supervisors and load balancers are told."""

from base64 import b64encode
from typing import Any

import pytest
from django.test import Client

from chatd.core.coverage import secrets_notice
from chatd.providers.actions import save_provider
from chatd.providers.models import ModelConfig

pytestmark = pytest.mark.django_db

ANOTHER_KEY = b64encode(bytes(32)).decode()


def test_a_process_that_can_do_everything_is_ready(client: Client, model: ModelConfig) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    checks = {"database": "ok", "live": "ok", "secrets": "ok"}
    assert answer.json() == {"status": "ok", "checks": checks}


@pytest.mark.parametrize("keys", [(ANOTHER_KEY,), (), ("not base64!",)])
def test_without_its_secrets_a_process_is_ready_for_the_rest_and_says_what_to_do(
    client: Client, model: ModelConfig, settings: Any, keys: tuple[str, ...]
) -> None:
    assert model.ai_provider
    save_provider(model.ai_provider, new_key="a-key")
    settings.CHATD_ENCRYPTION_KEYS = keys
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"]["secrets"] == secrets_notice()
    assert "CHATD_ENCRYPTION_KEYS" in secrets_notice()
    assert client.get("/login").status_code == 200


def test_without_its_live_layer_a_process_is_not_ready(
    client: Client, settings: Any, model: ModelConfig
) -> None:
    settings.LIVE_BACKEND = "chatd.live.redis.RedisBackend"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert answer.json()["checks"]["live"] == "unreachable"
