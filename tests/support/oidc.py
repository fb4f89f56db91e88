"""OpenID providers to sign in with: a real one as a process, and one of our own that can lie.

The real one is `oidc-provider-mock`; it knows `USERS`, and lets in whoever is named. The other is
strict about what it is sent, and what it answers is the test's to change.
"""

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chatd.chattest.server import LoopbackServer
from config.env import SingleSignOn, read_environment
from tests.support.product import scrubbed_environment
from tests.support.services import free_port, wait_for_port

CLIENT_ID = "chatd"
CLIENT_SECRET = "canary-client-secret-5b1f9c27"

USERS: list[dict[str, Any]] = [
    {
        "sub": "dora-at-the-provider",
        "preferred_username": "Dora.Example@corp",
        "email": "dora@example.com",
        "email_verified": True,
        "name": "Dora Example",
        "groups": ["Developers", "Everything-Else", "chatd-admins"],
    },
    {
        "sub": "erik-at-the-provider",
        "email": "erik@example.com",
        "email_verified": True,
        "groups": ["Developers"],
    },
    {"sub": "nora-at-the-provider", "email": "nora@example.com", "email_verified": False},
]


def configured(issuer: str, **variables: str) -> SingleSignOn:
    """Return the configuration that the environment of such variables gives."""
    found = read_environment(environment(issuer, **variables)).single_sign_on
    assert found is not None
    return found


def environment(issuer: str, **variables: str) -> dict[str, str]:
    """Return the variables of a deployment that signs in with an issuer."""
    return {
        "CHATD_OIDC_ISSUER": issuer,
        "CHATD_OIDC_CLIENT_ID": CLIENT_ID,
        "CHATD_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        **{f"CHATD_OIDC_{name}": value for name, value in variables.items()},
    }


# the real one


@contextmanager
def provider_process(host: str = "127.0.0.1") -> Iterator[str]:
    """Run the real provider and yield its issuer URL."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    command += ["--require-nonce", "true"]
    for user in USERS:
        command += ["--user-claims", json.dumps(user)]
    with (
        tempfile.TemporaryDirectory(prefix="chatd-oidc-") as folder,
        Path(folder, "log").open("wb") as log,
    ):
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=scrubbed_environment(), cwd=folder
        )
        try:
            wait_for_port(port, process, 120)
            yield f"http://{host}:{port}"
        finally:
            process.terminate()
            process.wait(20)


def let_in(location: str, subject: str) -> str:
    """Sign in at the provider's page as `subject`; return where it sends the browser then."""
    return _submitted(location, {"sub": subject})


def cancel(location: str) -> str:
    """Refuse at the provider's page; return where it sends the browser then."""
    return _submitted(location, {"action": "deny"})


def _submitted(location: str, form: Mapping[str, str]) -> str:
    answer = send("POST", location, form)
    assert answer.status in (302, 303), answer.read()
    return answer.headers["Location"]


def send(method: str, url: str, form: Mapping[str, str] | None = None) -> HTTPResponse:
    """Send one request, without following where the answer leads."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection.request(method, path, urlencode(form) if form else None, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def set_claims(issuer: str, subject: str, **claims: Any) -> None:
    """Change what the real provider says of somebody."""
    parts = urlsplit(issuer)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    body = json.dumps(claims)
    connection.request("PUT", f"/users/{subject}", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status in (200, 201, 204), answer.read()
    connection.close()


# one that can lie

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, key_id: str, **more: Any) -> dict[str, Any]:
    """Return the public half of a key as providers publish it."""
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**public, "kid": key_id, "use": "sig", **more}


class LyingProvider(LoopbackServer):
    """An OpenID provider that checks secret, code, redirect and PKCE, and says what it is told to.

    `claims` go into the ID token, above those that are right; None leaves one out. `faults` answers
    in place of a path. `sign` makes the token of its claims.
    """

    def __init__(self) -> None:
        super().__init__(self._routes)
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.answer: dict[str, Any] = {}
        self.faults: dict[str, Any] = {}
        self.keys = [jwk(RSA_KEY, "one")]
        self.sign: Callable[[dict[str, Any]], str] = signed
        self.asked: list[str] = []
        self.bodies: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.issued: list[str] = []
        """Every code and token that was given out."""
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def issuer(self) -> str:
        return self.base_url

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def authorize(self, location: str, **changes: str) -> str:
        """Let somebody in without a page; return where the browser is sent."""
        asked = dict(parse_qsl(urlsplit(location).query))
        assert asked["client_id"] == CLIENT_ID
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = self._new("code")
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], **changes}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def _new(self, kind: str) -> str:
        self.issued.append(f"canary-{kind}-{secrets.token_hex(16)}")
        return self.issued[-1]

    def _routes(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._at(self._metadata))
        app.router.add_get("/jwks", self._at(self._jwks))
        app.router.add_post("/token", self._at(self._token))
        app.router.add_get("/userinfo", self._at(self._userinfo))
        app.router.add_route("*", "/elsewhere", self._at(self._jwks))
        return app

    def _at(self, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            self.asked.append(request.path)
            self.headers.append(dict(request.headers))
            fault = self.faults.get(request.path)
            if fault is not None:
                return await fault(request)
            return await handler(request)

        return answer

    async def _metadata(self, request: web.Request) -> web.Response:
        named = {
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        return web.json_response({"issuer": self.issuer, **named, **self.metadata})

    async def _jwks(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": self.keys})

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.bodies.append(form)
        if not self._knows_client(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        if form["grant_type"] == "refresh_token":
            known = form["refresh_token"] in self.issued
            body = self._tokens() if known else {"error": "invalid_grant"}
            return web.json_response({**body, **self.answer}, status=200 if known else 400)
        asked = self._codes.pop(form["code"], None)
        if asked is None or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        id_token = self.sign(self._claims(asked))
        self.issued.append(id_token)
        return web.json_response({**self._tokens(), "id_token": id_token, **self.answer})

    def _knows_client(self, request: web.Request, form: Mapping[str, str]) -> bool:
        given = (form.get("client_id"), form.get("client_secret"))
        if "Authorization" in request.headers:
            _, _, coded = request.headers["Authorization"].partition(" ")
            given = tuple(base64.b64decode(coded).decode().split(":", 1))
        return given == (CLIENT_ID, CLIENT_SECRET)

    def _tokens(self) -> dict[str, Any]:
        return {
            "token_type": "Bearer",
            "access_token": self._new("access"),
            "refresh_token": self._new("refresh"),
            "expires_in": 300,
        }

    def _claims(self, asked: Mapping[str, str]) -> dict[str, Any]:
        claims = {
            "iss": self.issuer,
            "sub": "frank-at-the-provider",
            "aud": CLIENT_ID,
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
            "nonce": asked.get("nonce"),
            "email": "frank@example.com",
            "email_verified": True,
            "preferred_username": "frank",
            "name": "Frank",
            **self.claims,
        }
        return {name: value for name, value in claims.items() if value is not None}

    async def _userinfo(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"].removeprefix("Bearer ") not in self.issued:
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response({"sub": "frank-at-the-provider", **self.userinfo})


def signed(
    claims: dict[str, Any], *, key: Any = RSA_KEY, algorithm: str = "RS256", key_id: str = "one"
) -> str:
    """Return an ID token."""
    return jwt.encode(claims, key, algorithm, headers={"kid": key_id} if key_id else {})


def query_of(url: str) -> dict[str, str]:
    """Return the query of a URL, each name with its one value."""
    found = parse_qs(urlsplit(url).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in found.values()), url
    return {name: values[0] for name, values in found.items()}
