"""A fake AWS Bedrock: Anthropic's models in the frames of AWS, with its signatures checked.

The signature is computed here on its own, from what came over the network.
"""

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote
from zlib import crc32

import orjson
from aiohttp import web

from chatd.chattest.anthropic import MAX_REQUEST_BYTES, AnthropicHandler, AnthropicServer
from chatd.chattest.anthropic_rules import Refused, check

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([a-z0-9-]+)/bedrock/aws4_request,"
    r" SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


class BedrockServer(AnthropicServer):
    """Serve `invoke` and `invoke-with-response-stream`.

    A request has to bring `key` as a bearer, or be signed with the secret of `secrets` for the
    access key it names. `models` are the ids that were asked for.
    """

    def __init__(
        self,
        handler: AnthropicHandler,
        *,
        key: str = "",
        secrets: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(handler, key=key, host=host, port=port)
        self.models: list[str] = []
        self.regions: list[str] = []
        self._secrets = secrets or {}

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_post("/model/{model}/{action}", self._invoke)
        return app

    async def _invoke(self, http: web.Request) -> web.StreamResponse:
        raw = await http.read()
        if reason := self._distrust(http, raw):
            return _refused(403, "AccessDeniedException", reason)
        body = orjson.loads(raw)
        try:
            _check(body, self)
        except Refused as reason:
            self.refusals.append(str(reason))
            return _refused(400, "ValidationException", str(reason))
        self.models.append(http.match_info["model"])
        is_stream = http.match_info["action"] == "invoke-with-response-stream"
        return await self._answer(http, body, is_stream=is_stream)

    def _distrust(self, http: web.Request, raw: bytes) -> str:
        given = http.headers.get("Authorization", "")
        if self._key and given == f"Bearer {self._key}":
            return ""
        found = _AUTHORIZATION.fullmatch(given)
        secret = self._secrets.get(found[1]) if found else None
        if found is None or secret is None:
            return "The security token included in the request is invalid."
        self.regions.append(found[3])
        if not hmac.compare_digest(_signature(http, raw, found, secret), found[5]):
            return "The request signature we calculated does not match the signature you provided."
        return ""

    def _media_type(self) -> str:
        return "application/vnd.amazon.eventstream"

    def _written(self, event: Mapping[str, Any]) -> bytes:
        if event["type"] == "error":
            return exception_frame(event["error"]["type"], event["error"]["message"])
        return chunk_frame(event)


def _check(body: Mapping[str, Any], server: BedrockServer) -> None:
    if body.get("anthropic_version") != "bedrock-2023-05-31":
        raise Refused("anthropic_version: Field required")
    for name in ("model", "stream"):
        if name in body:
            raise Refused(f"{name}: Extra inputs are not permitted")
    rest = {name: value for name, value in body.items() if name != "anthropic_version"}
    check({**rest, "model": "in the path"}, server.issued, has_server_tools=False)


def _signature(http: web.Request, raw: bytes, found: re.Match[str], secret: str) -> str:
    """Return what the signature of a received request has to be."""
    _, day, region, names, _ = found.groups()
    path, _, query = http.raw_path.partition("?")
    request = [http.method, quote(path, safe="/-_.~"), query]
    request += [f"{name}:{http.headers[name].strip()}" for name in names.split(";")]
    request += ["", names, hashlib.sha256(raw).hexdigest()]
    hashed = hashlib.sha256("\n".join(request).encode()).hexdigest()
    scope = f"{day}/{region}/bedrock/aws4_request"
    told = f"AWS4-HMAC-SHA256\n{http.headers['x-amz-date']}\n{scope}\n{hashed}"
    key = b"AWS4" + secret.encode()
    for piece in (day, region, "bedrock", "aws4_request", told):
        key = hmac.digest(key, piece.encode(), "sha256")
    return key.hex()


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return one frame of an AWS event stream; header values are texts."""
    raw = b"".join(
        struct.pack(">B", len(name))
        + name.encode()
        + struct.pack(">BH", 7, len(value))
        + value.encode()
        for name, value in headers.items()
    )
    head = struct.pack(">II", len(raw) + len(payload) + 16, len(raw))
    head += struct.pack(">I", crc32(head))
    whole = head + raw + payload
    return whole + struct.pack(">I", crc32(whole))


def chunk_frame(event: Mapping[str, Any]) -> bytes:
    payload = {"bytes": base64.b64encode(orjson.dumps(event)).decode(), "p": "abcdefg"}
    headers = {
        ":event-type": "chunk",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return frame(headers, orjson.dumps(payload))


def exception_frame(kind: str, message: str) -> bytes:
    headers = {
        ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return frame(headers, orjson.dumps({"message": message}))


def _refused(status: int, kind: str, message: str) -> web.Response:
    headers = {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/"}
    return web.json_response({"message": message}, status=status, headers=headers)
