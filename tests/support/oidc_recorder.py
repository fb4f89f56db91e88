"""What stands before the real OpenID provider and notes the secrets that pass.

The provider keeps its tokens to itself; tests that search for them need to know them.
"""

from base64 import b64decode
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from chatd.chattest.server import LoopbackServer

_HOP_BY_HOP = ("transfer-encoding", "connection", "content-encoding", "content-length")


class RecordingProvider(LoopbackServer):
    """Forwards every request to a provider at `upstream`, which then calls itself what this is.

    While `refuses` is set, the token endpoint refuses and repeats all that it was sent.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(self._application)
        self._upstream = upstream
        self.refuses = False
        self.tokens: list[dict[str, Any]] = []
        """Answers of the token endpoint."""
        self.forms: list[dict[str, str]] = []
        """Requests to it."""
        self.client_secrets: list[str] = []
        """As they came with those."""

    @property
    def issuer(self) -> str:
        return self.base_url

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._forward)
        return app

    async def _forward(self, request: web.Request) -> web.Response:
        body, is_token = await request.read(), request.path == "/oauth2/token"
        if is_token:
            self._note(request, body)
            if self.refuses:
                return _echo(request, body)
        async with (
            aiohttp.ClientSession(auto_decompress=True) as session,
            session.request(
                request.method,
                f"{self._upstream}{request.path_qs}",
                data=body,
                headers=request.headers,
                allow_redirects=False,
            ) as answer,
        ):
            text = await answer.read()
            if is_token:
                self.tokens.append(await answer.json())
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
            return web.Response(status=answer.status, body=text, headers=headers)

    def _note(self, request: web.Request, body: bytes) -> None:
        self.forms.append(dict(parse_qsl(body.decode())))
        _, _, pair = request.headers.get("Authorization", "").partition("Basic ")
        self.client_secrets.append(b64decode(pair).decode().partition(":")[2])


def _echo(request: web.Request, body: bytes) -> web.Response:
    said = f"{request.headers.get('Authorization')} {body.decode()}"
    return web.json_response({"error": said, "error_description": said}, status=400)
