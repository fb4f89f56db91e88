"""Secrets of providers are in no answer, no log line, no audit row, no exception, no column."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from django.apps import apps
from django.db import DatabaseError

from chatd.api.ai_provider_test import TestAIProviderRequest as TryRequest
from chatd.api.ai_providers import CreateAIProviderRequest, UpdateAIProviderRequest
from chatd.api.older_providers import CreateChatProviderConfigRequest
from chatd.api.own_provider_keys import CreateUserAIProviderKeyRequest
from chatd.audit.models import AuditEntry
from chatd.providers import administration, own_keys, shared_keys
from chatd.providers.bedrock import BedrockChanges, BedrockSettings
from chatd.providers.drafts import NewProvider, ProviderChanges, WantedKey
from chatd.providers.older_routes import OlderFields
from tests.api.client import Api

pytestmark = pytest.mark.django_db(transaction=True)

CANARY = "canary-7f3a9c51e2"
PATH = "/api/v2/ai/providers"
OLDER = "/chats/providers"
NOWHERE = "http://127.0.0.1:9/v1"
BEDROCK = {"_type": "bedrock", "_version": 1, "region": "eu-west-1"}


def secret(number: int) -> str:
    """Return a secret whose middle, which no mask shows, is the canary."""
    return f"head{number:04}-{CANARY}-{number:04}tail"


class Requests:
    """Sends requests with secrets in them and keeps every answer."""

    def __init__(self, *apis: Api) -> None:
        self._apis = apis
        self._count = 0
        self.answers: list[bytes] = []
        self.statuses: set[int] = set()

    def new(self) -> str:
        self._count += 1
        return secret(self._count)

    def send(self, method: str, path: str, *bodies: Any) -> Any:
        """Send each body as each caller; return the body of the last good answer."""
        good = None
        for api in self._apis:
            for body in bodies or ({},):
                raw = {"raw": body} if isinstance(body, bytes) else {"body": body}
                answer = api.call(method, path, **raw)
                self.answers.append(answer.raw + str(answer.headers).encode())
                self.statuses.add(answer.status)
                good = answer.body if answer.status < 300 else good
        return good


def drive(requests: Requests) -> None:
    """Use every route that takes or knows a secret, well and badly."""
    new = requests.new
    base = {"type": "openai", "name": "main", "base_url": NOWHERE}
    both = {"access_key": new(), "access_key_secret": new()}
    settings = BEDROCK | both
    main = requests.send(
        "POST",
        PATH,
        {"api_keys": [new()]},
        {"api_keys": new()},
        base | {"api_keys": [f" {new()}"]},
        base | {"name": new().upper(), "api_keys": [new()]},
        base | {"base_url": f"http://{new()}@host/v1"},
        base | {"base_url": f"http://user:{new()}@host/v1"},
        base | {"settings": settings},
        base | {"type": "anthropic", "settings": settings, "api_keys": [new()]},
        base | {"type": "bedrock", "settings": both},
        base | {"type": "bedrock", "settings": settings | {"region": 1}},
        f'{{"api_keys": ["{new()}"'.encode(),
        base | {"api_keys": [new(), new()]},
        base | {"name": "aws", "type": "bedrock", "settings": settings},
        base | {"api_keys": [new()]},
    )
    assert main is not None
    for path in (PATH, f"{PATH}/main", f"{PATH}/aws", OLDER, "/chats/models"):
        requests.send("GET", path)
    one = requests.send("GET", f"{PATH}/main")
    kept = {"id": one["api_keys"][0]["id"]}
    requests.send(
        "PATCH",
        f"{PATH}/main",
        {"api_keys": [kept, {"api_key": new()}]},
        {"api_keys": [{"api_key": new()}, {"id": one["id"]}]},
        {"api_keys": [kept | {"api_key": new()}]},
        {"api_keys": new()},
        {"settings": BEDROCK | {"access_key": new(), "access_key_secret": new()}},
    )
    credentials = BEDROCK | {"access_key": new(), "access_key_secret": new()}
    requests.send("PATCH", f"{PATH}/aws", {"settings": credentials}, {"settings": {"_x": new()}})
    requests.send(
        "POST",
        f"{PATH}/test",
        {"id": one["id"]},
        {"id": one["id"], "api_key": new()},
        base | {"api_keys": [new()]},
        base | {"type": "google", "api_keys": [new()]},
        base | {"type": "bedrock", "settings": settings},
        {"id": one["id"], "api_keys": [new()]},
        {"id": new(), "api_key": new()},
    )
    own = f"/users/me/ai-provider-keys/{one['id']}"
    bodies = [
        {"api_key": new()},
        {"api_key": new()},
        {"api_key": f"{new()} "},
        {"api_key": [new()]},
    ]
    requests.send("PUT", own, *bodies, {"api_key": new() * 1000})
    requests.send("PUT", f"/chats/user-provider-configs/{one['id']}", *bodies)
    for path in ("/users/me/ai-provider-keys", "/chats/user-provider-configs"):
        requests.send("GET", path)
    google = requests.send(
        "POST",
        OLDER,
        {"provider": new(), "api_key": new()},
        {"provider": "google", "api_key": new() * 1000},
        {"provider": "google", "api_key": new(), "base_url": f"http://u:{new()}@h/"},
        {"provider": "google", "api_key": new()},
        {"provider": "google", "api_key": new()},
    )
    requests.send("PATCH", f"{OLDER}/{google['id']}", {"api_key": new()}, {"api_key": {"k": new()}})


@pytest.fixture
def logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """Return what was logged, and what was printed, until now."""

    def read() -> str:
        printed = capfd.readouterr()
        return caplog.text + str([vars(line) for line in caplog.records]) + "".join(printed)

    caplog.set_level("DEBUG")
    return read


def columns() -> str:
    """Return every row of every table, as it is stored."""
    rows: list[Any] = []
    for model in apps.get_models():
        rows += model._default_manager.values()
    return str(rows)


def test_no_secret_leaves_the_routes(root: Api, alice: Api, logged: Callable[[], str]) -> None:
    requests = Requests(root, alice)
    drive(requests)
    assert {200, 201, 400, 403, 409} <= requests.statuses
    assert not {status for status in requests.statuses if status >= 500}
    for path in (f"{PATH}/main", f"{PATH}/aws", PATH + "/nothing"):
        requests.send("DELETE", path)
    told = [answer for answer in requests.answers if CANARY.encode() in answer]
    assert told == []
    assert AuditEntry.objects.filter(resource_type="ai_provider_key").count() > 5
    assert CANARY not in columns()
    assert CANARY not in logged()


@pytest.mark.parametrize("module", [administration, shared_keys, own_keys])
def test_no_secret_is_in_what_is_logged_of_a_crash(
    module: Any,
    root: Api,
    logged: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def crash(*args: object, **kwargs: object) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(module, "record", crash)
    requests = Requests(root)
    body = {"type": "openai", "name": "main", "base_url": NOWHERE, "api_keys": [requests.new()]}
    requests.send("POST", PATH, body)
    if module is own_keys:
        (provider,) = root.get(PATH).body
        path = f"/users/me/ai-provider-keys/{provider['id']}"
        requests.send("PUT", path, {"api_key": requests.new()})
    assert 500 in requests.statuses
    assert CANARY.encode() not in b"".join(requests.answers)
    shown = logged()
    assert "the disk is full" in shown
    assert CANARY not in shown
    assert CANARY not in columns()


WITH_SECRETS = [
    BedrockSettings(access_key=secret(1), access_key_secret=secret(2)),
    BedrockChanges(access_key=secret(1), access_key_secret=secret(2)),
    WantedKey(api_key=secret(1)),
    NewProvider(type="openai", name="x", base_url=NOWHERE, api_keys=[secret(1)]),
    ProviderChanges(api_keys=[WantedKey(api_key=secret(1))]),
    OlderFields(api_key=secret(1)),
]
BODIES: list[tuple[type, dict[str, Any]]] = [
    (CreateAIProviderRequest, {"api_keys": [secret(1)]}),
    (CreateAIProviderRequest, {"settings": BEDROCK | {"access_key": secret(1)}}),
    (UpdateAIProviderRequest, {"api_keys": [{"api_key": secret(1)}]}),
    (TryRequest, {"api_key": secret(1)}),
    (CreateChatProviderConfigRequest, {"api_key": secret(1)}),
    (CreateUserAIProviderKeyRequest, {"api_key": secret(1)}),
]


@pytest.mark.parametrize("value", WITH_SECRETS, ids=lambda value: type(value).__name__)
def test_no_secret_is_in_a_repr(value: object) -> None:
    assert CANARY not in repr(value)


@pytest.mark.parametrize(("shape", "body"), BODIES)
def test_no_secret_is_in_the_repr_of_a_body(shape: type, body: dict[str, Any]) -> None:
    decoded = msgspec.convert(body, shape)
    assert CANARY in msgspec.json.encode(decoded).decode()
    assert CANARY not in repr(decoded)
