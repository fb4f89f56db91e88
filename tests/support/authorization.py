"""An MCP server with its authorization server, on loopback: discovery, registration, PKCE, refresh.

It is as strict as the specifications let it be: a verifier is compared with its challenge, a code
and a refresh token hold once, and a refresh token that comes twice ends its grant. Tests change
attributes to have it fail.
"""

import base64
import hashlib
import secrets
import threading
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web

from chatd.chattest.server import LoopbackServer

Handler = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass
class Grant:
    """What one person allowed: the live refresh token, and how it came to be."""

    client_id: str
    refresh_token: str = ""
    ended: bool = False


@dataclass
class Asked:
    """One request to the token endpoint."""

    form: dict[str, str]
    authorization: str


@dataclass
class Code:
    client_id: str
    challenge: str
    redirect_uri: str


@dataclass
class Knobs:
    """What a test may change."""

    expires_in: Any = 3600
    rotates: bool = True
    methods: list[str] | None = field(default_factory=lambda: ["none"])
    challenge_methods: list[str] | None = field(default_factory=lambda: ["S256"])
    registers: bool = True
    issuer: str = ""
    resource: str = ""
    answers: dict[str, Handler] = field(default_factory=dict)
    """Other answers, by the last segment of the path."""


class AuthorizationServer(LoopbackServer):
    """Serves `/mcp`, which asks for a token, and `/as/…`, which gives them."""

    def __init__(self) -> None:
        super().__init__(self._application)
        self.knobs = Knobs()
        self.clients: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, Code] = {}
        self.grants: list[Grant] = []
        self.asked: list[Asked] = []
        self.issued: list[dict[str, Any]] = []
        """Answers with tokens."""
        self.paths: list[str] = []
        self.open = threading.Event()
        """Token requests wait for it."""
        self.open.set()
        self.waiting = threading.Semaphore(0)
        """Released once for each token request that came in."""

    @property
    def mcp_url(self) -> str:
        return f"{self.base_url}/mcp"

    @property
    def refreshes(self) -> int:
        return sum(each.form.get("grant_type") == "refresh_token" for each in self.asked)

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._knobs])
        described = "/.well-known/oauth-protected-resource"
        app.router.add_route("*", "/mcp", self._mcp)
        app.router.add_get(f"{described}/mcp", self._resource)
        app.router.add_get("/.well-known/oauth-authorization-server/as", self._metadata)
        app.router.add_post("/as/register", self._register)
        app.router.add_get("/as/authorize", self._authorize)
        app.router.add_post("/as/token", self._token)
        return app

    @web.middleware
    async def _knobs(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.paths.append(request.path)
        other = self.knobs.answers.get(request.path.rpartition("/")[2])
        if other is not None:
            found = other(request)
            return await found if isinstance(found, Awaitable) else found
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _mcp(self, request: web.Request) -> web.Response:
        told = f"{self.base_url}/.well-known/oauth-protected-resource/mcp"
        challenge = f'Bearer resource_metadata="{told}", scope="tools:read"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async def _resource(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "resource": self.knobs.resource or self.mcp_url,
                "authorization_servers": [f"{self.base_url}/as"],
            }
        )

    async def _metadata(self, request: web.Request) -> web.Response:
        here = f"{self.base_url}/as"
        described = {
            "issuer": self.knobs.issuer or here,
            "authorization_endpoint": f"{here}/authorize",
            "token_endpoint": f"{here}/token",
            "registration_endpoint": f"{here}/register" if self.knobs.registers else None,
            "token_endpoint_auth_methods_supported": self.knobs.methods,
            "code_challenge_methods_supported": self.knobs.challenge_methods,
            "scopes_supported": ["tools:read", "offline_access"],
        }
        known = {name: value for name, value in described.items() if value is not None}
        return web.json_response(known)

    async def _register(self, request: web.Request) -> web.Response:
        asked = await request.json()
        client = {**asked, "client_id": f"client-{len(self.clients) + 1}"}
        if asked["token_endpoint_auth_method"] != "none":
            client["client_secret"] = f"secret+of/{client['client_id']}"
        self.clients[client["client_id"]] = client
        return web.json_response(client, status=201)

    async def _authorize(self, request: web.Request) -> web.Response:
        """Let everybody in at once, as somebody who is signed in and has agreed before."""
        query = request.query
        client = self.clients.get(query["client_id"])
        if client is None or query["redirect_uri"] not in client["redirect_uris"]:
            return web.Response(status=400, text="unknown client or redirect")
        code = secrets.token_urlsafe(8)
        assert query["code_challenge_method"] == "S256"
        self.codes[code] = Code(query["client_id"], query["code_challenge"], query["redirect_uri"])
        back = urlencode({"code": code, "state": query["state"]})
        raise web.HTTPFound(f"{query['redirect_uri']}?{back}")

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(Asked(form, request.headers.get("Authorization", "")))
        self.waiting.release()
        await to_thread(self.open.wait, 30)
        client = self._client(form, request.headers.get("Authorization", ""))
        if client is None:
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["grant_type"] == "refresh_token":
            return self._refresh(form)
        code = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        sound = code and code.challenge == challenge and code.redirect_uri == form["redirect_uri"]
        if not sound or code.client_id != client["client_id"]:
            return _refused("invalid_grant", f"no such code: {form['code']}")
        return self._granted(Grant(client["client_id"]))

    def _client(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """Return the client that proved itself the way it was registered."""
        name, secret, method = form.get("client_id", ""), form.get("client_secret", ""), "none"
        if authorization.startswith("Basic "):
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            name, _, secret = (unquote_plus(each) for each in pair.partition(":"))
            method = "client_secret_basic"
        elif secret:
            method = "client_secret_post"
        client = self.clients.get(name)
        if client is None or client["token_endpoint_auth_method"] != method:
            return None
        return client if client.get("client_secret", "") == secret else None

    def _refresh(self, form: dict[str, str]) -> web.Response:
        for grant in self.grants:
            if grant.refresh_token == form["refresh_token"] and not grant.ended:
                return self._granted(grant)
            if form["refresh_token"].startswith(f"refresh-{self.grants.index(grant)}-"):
                grant.ended = True  # it was used before: somebody has stolen it
        return _refused("invalid_grant", f"no such token: {form['refresh_token']}")

    def _granted(self, grant: Grant) -> web.Response:
        if grant not in self.grants:
            self.grants.append(grant)
        number = f"{self.grants.index(grant)}-{secrets.token_urlsafe(6)}"
        if self.knobs.rotates or not grant.refresh_token:
            grant.refresh_token = f"refresh-{number}"
        answer = {
            "access_token": f"access-{number}",
            "token_type": "bearer",
            "expires_in": self.knobs.expires_in,
            "refresh_token": grant.refresh_token if self.knobs.rotates else None,
        }
        self.issued.append({name: value for name, value in answer.items() if value})
        return web.json_response(self.issued[-1])


def _refused(error: str, words: str) -> web.Response:
    return web.json_response({"error": error, "error_description": words}, status=400)


def answer(status: int, body: Any, **headers: str) -> Handler:
    """Return a handler of one fixed answer."""
    return lambda request: web.json_response(body, status=status, headers=headers)


async def echo(request: web.Request) -> web.StreamResponse:
    """Refuse, and repeat all that was sent: each value of the form, the header, the form itself."""
    form = " ".join(str(value) for value in reversed([*(await request.post()).values()]))
    header, raw = request.headers.get("Authorization", ""), (await request.read()).decode()
    return _refused("temporarily_unavailable", f"{header} {form} {raw}")
