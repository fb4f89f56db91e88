"""Signature Version 4 of AWS: headers that prove who sends a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlsplit

from chatd.llm.types import AwsAccess

SERVICE = "bedrock"

_ALGORITHM = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def signed_headers(
    access: AwsAccess, method: str, url: str, body: bytes, *, at: datetime
) -> Mapping[str, str]:
    """Return the headers to send with a request; `at` is the time in UTC."""
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{access.region}/{SERVICE}/aws4_request"
    headers = {"host": _host(url), "x-amz-date": stamp}
    if access.session_token:
        headers["x-amz-security-token"] = access.session_token
    names = ";".join(sorted(headers))
    canonical = _canonical(method, url, headers, names, body)
    to_sign = "\n".join([_ALGORITHM, stamp, scope, _hash(canonical.encode())])
    signature = _keyed(_key(access, scope), to_sign).hex()
    credential = f"Credential={access.access_key}/{scope}"
    return {
        **{name: value for name, value in headers.items() if name != "host"},
        "Authorization": f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}",
    }


def _canonical(method: str, url: str, headers: Mapping[str, str], names: str, body: bytes) -> str:
    parts = urlsplit(url)
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    lines = [
        method,
        quote(parts.path or "/", safe="/-_.~"),  # quoted once more than it is sent
        "&".join(f"{name}={value}" for name, value in query),
        *(f"{name}:{headers[name]}" for name in sorted(headers)),
        "",
        names,
        _hash(body),
    ]
    return "\n".join(lines)


def _host(url: str) -> str:
    """Return the Host header that the transport sends."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    is_default = parts.port in (None, _DEFAULT_PORTS.get(parts.scheme))
    return host if is_default else f"{host}:{parts.port}"


def _key(access: AwsAccess, scope: str) -> bytes:
    key = f"AWS4{access.access_key_secret}".encode()
    for piece in scope.split("/"):
        key = _keyed(key, piece)
    return key


def _keyed(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
