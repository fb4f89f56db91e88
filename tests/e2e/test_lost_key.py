"""A deployment whose encryption key is lost, found again and rotated."""

import json
import secrets
from base64 import b64encode

import pytest

from tests.e2e.provider import ScriptedProvider, answer
from tests.support.client import Client
from tests.support.product import Product, Web, embedded

RUNS_ON = "embedded"
pytestmark = pytest.mark.slow

KEY = "plain-text-canary-1c9d7e"


def _new_key() -> str:
    return b64encode(secrets.token_bytes(32)).decode()


def _restart(product: Product, web: Web, *keys: str) -> Web:
    web.terminate()
    product.environment["CHATD_ENCRYPTION_KEYS"] = ",".join(keys)
    return product.up()


def _readiness(web: Web) -> tuple[int, str]:
    status, body = web.get("/readyz")
    return status, json.loads(body)["status"]


def _ask(client: Client, model: str) -> tuple[str, dict[str, object]]:
    """Start a chat and return how its turn ended and, if it failed, why."""
    chat = client.create_chat("hello", model=model)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("waiting", "error")
    found = client.chat(chat["id"])
    return found["status"], found.get("last_error") or {}


def test_a_lost_key_stops_only_what_needs_it_and_a_rotation_loses_nothing() -> None:
    with ScriptedProvider() as provider, embedded() as product:
        provider.on("hello", answer("hi"))
        web = product.up()
        client = product.client(web)
        own = json.loads((product.data / "secrets.json").read_text())["encryption_keys"][0]
        rows = [{"base_url": provider.base_url, "key": key} for key in (KEY, "")]
        sealed, keyless = product.add_models(*rows)
        assert _readiness(web) == (200, "ok")

        web = _restart(product, web, _new_key())
        client = product.client(web)
        web.wait_for_log("1 of 1 stored secrets cannot be read")
        assert _readiness(web) == (200, "degraded")
        status, error = _ask(client, sealed)
        assert (status, error["kind"]) == ("error", "config")
        assert "enter it again" in str(error["message"])
        assert _ask(client, keyless) == ("waiting", {})
        assert product.manage("rotate_keys", check=False).returncode == 1

        new = _new_key()
        web = _restart(product, web, new, own)
        client = product.client(web)
        assert _readiness(web) == (200, "ok")
        assert product.manage("rotate_keys", "--check", check=False).returncode == 1
        assert "1 secrets re-sealed" in product.manage("rotate_keys").stdout
        assert _ask(client, sealed) == ("waiting", {})

        web = _restart(product, web, new)
        assert _readiness(web) == (200, "ok")
        assert _ask(product.client(web), sealed) == ("waiting", {})
        product.manage("rotate_keys", "--check")
        sent = {request.headers.get("Authorization") for request in provider.requests}
        assert sent == {f"Bearer {KEY}", None}
        assert KEY not in product.logs(lines=10_000)


def test_a_malformed_key_stops_the_start_and_names_the_variable() -> None:
    with embedded(CHATD_ENCRYPTION_KEYS="no-key-at-all") as product:
        refused = product.up(ready=False)
        assert refused.wait() != 0
        assert "Key 1 of CHATD_ENCRYPTION_KEYS is not valid base64 text." in refused.log
        assert "no-key-at-all" not in refused.log
