"""Every kind of secret goes in once; then every page, answer, log line and stored byte is searched.

`test_no_secrets` follows one provider key through turns. Here an administrator uses the whole
control plane, rightly and wrongly, and a crawler opens everything that can be opened.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from chatd.chattest import faults
from tests.e2e.provider import ScriptedProvider
from tests.support.product import ADMIN_PASSWORD, Product, Web, embedded

RUNS_ON = "embedded"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

V2, CHATS = "/api/v2", "/api/experimental/chats"
ENCRYPTION_KEY = "Y2FuYXJ5LWVuY3J5cHRpb24ta2V5LTMyLWJ5dGVzISE="

SECRETS = {
    name: f"canary-{name.replace(' ', '-')}-5d1f"
    for name in (
        "provider key",
        "second provider key",
        "refused provider key",
        "tried provider key",
        "form provider key",
        "older provider key",
        "own key",
        "bedrock access key",
        "bedrock secret",
        "password",
        "new password",
        "wrong password",
        "form password",
        "session secret",
    )
} | {"administrator's password": ADMIN_PASSWORD, "encryption key": ENCRYPTION_KEY}

_LINK = re.compile(r'(?:href|action|src)="([^"]+)"')
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass
class Visitor:
    """Somebody with a browser and a token, who keeps everything that comes back."""

    web: Web
    token: str = ""
    seen: dict[str, str] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)

    def api(self, method: str, path: str, body: Any = None, *, keep: bool = True) -> Any:
        """Return the decoded answer, whatever its status. `keep=False` is for what shows a key."""
        headers = {"Coder-Session-Token": self.token} if self.token else {}
        answer = requests.request(
            method, self.web.url + path, json=body, headers=headers, timeout=30
        )
        if keep:
            self._keep(f"{method} {path} {len(self.seen)}", answer)
        return answer.json() if answer.content else None

    def get(self, path: str) -> requests.Response:
        answer = self.session.get(self.web.url + path, timeout=30)
        self._keep(f"page {path}", answer)
        return answer

    def submit(self, path: str, form: dict[str, Any]) -> requests.Response:
        """Fill in the form of a page and send it."""
        token = _CSRF.search(self.get(path).text)
        assert token is not None, path
        sent = {"csrfmiddlewaretoken": token[1], **form}
        headers = {"Referer": self.web.url + path}
        answer = self.session.post(self.web.url + path, data=sent, headers=headers, timeout=30)
        self._keep(f"form {path} {len(self.seen)}", answer)
        return answer

    def crawl(self, *starts: str) -> set[str]:
        """Open every page that can be reached by links, each once."""
        waiting, known = deque(starts), set(starts)
        while waiting:
            path = waiting.popleft()
            answer = self.get(path)
            assert answer.status_code < 500, (path, answer.status_code)
            if "text/html" not in answer.headers.get("Content-Type", ""):
                continue
            for link in _LINK.findall(answer.text):
                place = urlsplit(link)
                target = place.path if place.path.startswith("/") else ""
                own = not place.netloc or self.web.url.endswith(place.netloc)
                if own and target and target not in known and "logout" not in target:
                    known.add(target)
                    waiting.append(target)
        return known

    def _keep(self, name: str, answer: requests.Response) -> None:
        headers = {k: v for k, v in answer.headers.items() if k != "Set-Cookie"}
        self.seen[name] = f"{headers}\n{answer.text}"


def _administer(root: Visitor, provider: ScriptedProvider) -> None:
    """Put every secret where it belongs, and some where they do not."""
    url, secret = provider.base_url, SECRETS
    made = root.api(
        "POST",
        f"{V2}/ai/providers",
        {
            "type": "openai-compat",
            "name": "first",
            "base_url": url,
            "enabled": True,
            "api_keys": [secret["provider key"]],
        },
    )
    keys = [{"id": made["api_keys"][0]["id"]}, {"api_key": secret["second provider key"]}]
    root.api("PATCH", f"{V2}/ai/providers/{made['id']}", {"api_keys": keys})
    wrong = secret["refused provider key"]
    for body in (
        {"api_keys": [f" {wrong} "]},
        {"api_keys": wrong},
        {"api_keys": [{"api_key": wrong, "id": wrong}]},
        {"type": wrong, "name": wrong, "base_url": f"http://{wrong}:{wrong}@h/"},
    ):
        root.api("PATCH", f"{V2}/ai/providers/{made['id']}", body)
        root.api("POST", f"{V2}/ai/providers", {"name": "x", "type": "openai", **body})
    echo = faults.http_error(401, {"error": {"message": secret["tried provider key"]}})
    provider.on("try", echo)
    tried = {"type": "openai", "base_url": url, "api_keys": [secret["tried provider key"]]}
    root.api("POST", f"{V2}/ai/providers/test", tried)
    aws = {
        "_type": "bedrock",
        "_version": 1,
        "region": "eu-central-1",
        "access_key": secret["bedrock access key"],
        "access_key_secret": secret["bedrock secret"],
    }
    root.api(
        "POST",
        f"{V2}/ai/providers",
        {"type": "bedrock", "name": "aws", "base_url": "https://aws.example", "settings": aws},
    )
    older = {"provider": "anthropic", "api_key": secret["older provider key"], "base_url": url}
    root.api("POST", f"{CHATS}/providers", older)
    own = f"{V2}/users/me/ai-provider-keys/{made['id']}"
    root.api("PUT", own, {"api_key": secret["own key"]})
    root.api("PUT", own, {"api_key": f"{secret['own key']} "})
    model = {"ai_provider_id": made["id"], "model": "m", "context_limit": 1000, "is_default": True}
    root.api("POST", f"{CHATS}/model-configs", model)


def _bring_people_in(root: Visitor) -> list[str]:
    """Make a person who signs in; return the secrets that were made on the way."""
    person = {"username": "pia", "email": "pia@x.example", "password": SECRETS["password"]}
    root.api("POST", f"{V2}/users", person)
    root.api("POST", f"{V2}/users", {**person, "email": 5})
    login = {"email": "pia@x.example", "password": SECRETS["wrong password"]}
    root.api("POST", f"{V2}/users/login", login)
    root.api("POST", f"{V2}/users/login", {**login, "email": SECRETS["wrong password"]})
    login["password"] = SECRETS["password"]
    pia = Visitor(root.web, "")
    pia.token = pia.api("POST", f"{V2}/users/login", login, keep=False)["session_token"]
    key = pia.api("POST", f"{V2}/users/me/keys/tokens", {"token_name": "ci"}, keep=False)["key"]
    change = {"old_password": SECRETS["wrong password"], "password": SECRETS["new password"]}
    pia.api("PUT", f"{V2}/users/me/password", change)
    change["old_password"] = SECRETS["password"]
    pia.api("PUT", f"{V2}/users/me/password", change)
    pia.api("GET", f"{V2}/users/me/keys/tokens")
    root.seen |= {f"pia: {name}": text for name, text in pia.seen.items()}
    return [key.split("-", 1)[1], pia.token.split("-", 1)[1]]


def _administer_by_forms(root: Visitor, provider: ScriptedProvider) -> None:
    root.submit(
        "/login", {"username": "admin", "password": SECRETS["wrong password"], "next": "/admin/"}
    )
    signed = root.submit("/login", {"username": "admin", "password": ADMIN_PASSWORD})
    assert signed.status_code == 200
    form = {
        "type": "openai",
        "name": "by-form",
        "base_url": provider.base_url,
        "central_api_key_enabled": "on",
        "new_key": SECRETS["form provider key"],
    }
    add = "/admin/providers/aiprovider/add/?type=openai"
    root.submit(add, {**form, "name": "Not A Name"})
    root.submit(add, {**form, "_test": "1"})
    root.submit(add, form)


def _turns(root: Visitor, product: Product, provider: ScriptedProvider) -> None:
    key = SECRETS["provider key"]
    provider.on("fail", faults.http_error(401, {"error": {"message": f"Bad key {key}"}}))
    client = product.client(root.web)
    for prompt in ("hello", "fail"):
        chat = client.create_chat(prompt)
        with client.follow(chat["id"]) as follower:
            follower.wait_for_status("waiting", "error")
    root.seen |= {f"client {n}": body.decode() for n, body in enumerate(client.bodies)}


def _call_every_get(root: Visitor) -> None:
    document = root.api("GET", "/api/openapi.json")
    chat = root.api("GET", CHATS)[0]["id"]
    known = {"chat": chat, "user": "me", "organization": "default", "org": "default"}
    for path, operations in document["paths"].items():
        names = re.findall(r"{(\w+)}", path)
        if "get" in operations and all(name in known for name in names):
            if "101" in operations["get"]["responses"]:
                continue
            root.api("GET", path.format(**known))


@pytest.fixture(scope="module")
def everything() -> Iterator[tuple[dict[str, bytes], list[str], set[str]]]:
    """Yield all bytes that came or stayed by where, secrets made meanwhile, and the pages."""
    settings = {
        "CHATD_LOG_LEVEL": "DEBUG",
        "CHATD_ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "CHATD_SECRET_KEY": SECRETS["session secret"],
        "CHATD_API_RATE_LIMIT": "0",
    }
    with ScriptedProvider() as provider, embedded(**settings) as product:
        root = Visitor(product.up(), product.token())
        _administer(root, provider)
        made = [*_bring_people_in(root), root.token.split("-", 1)[1]]
        _administer_by_forms(root, provider)
        _turns(root, product, provider)
        _call_every_get(root)
        pages = root.crawl("/admin/", "/chats")
        root.web.terminate()
        found = {name: text.encode() for name, text in root.seen.items()}
        found |= {f"file {p.name}": p.read_bytes() for p in product.data.rglob("*") if p.is_file()}
        found |= {f"log {p.name}": p.log.encode() for p in product.processes}
        yield found, made, pages


def test_everything_was_looked_at(everything: Any) -> None:
    found, made, pages = everything
    assert "file chatd.sqlite3" in found
    assert len(made) == 3
    for page in ("/admin/audit/auditentry/", "/admin/providers/aiprovider/", "/chats"):
        assert page in pages
    assert any("by-form" in text.decode(errors="replace") for text in found.values())
    assert any(b"first" in text for name, text in found.items() if "auditentry" in name)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_nowhere(everything: Any, name: str) -> None:
    found, _, _ = everything
    assert _holders(found, SECRETS[name]) == []


def test_tokens_and_sessions_of_the_api_are_nowhere(everything: Any) -> None:
    found, made, _ = everything
    for secret in made:
        assert _holders(found, secret) == []


def _holders(found: dict[str, bytes], secret: str) -> list[str]:
    forms = {secret.encode(), json.dumps(secret)[1:-1].encode()}
    return [name for name, text in found.items() if any(form in text for form in forms)]
