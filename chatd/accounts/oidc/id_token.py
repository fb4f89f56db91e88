"""Whether to believe an ID token: OpenID Connect Core 3.1.3.7, without its exceptions.

The signature is checked although the token came straight from the provider, and only with public
keys: neither `none` nor a key that both sides know is an algorithm here.
"""

import secrets
from typing import Any

import jwt
from jwt import PyJWK

from chatd.accounts.oidc.provider import REFETCH_SECONDS, keys
from chatd.accounts.oidc.refusals import untrusted
from config.env import SingleSignOn

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
LEEWAY_SECONDS = 60
MAX_SUBJECT = 255

_NEEDED = ["iss", "sub", "aud", "exp", "iat"]
_DECODER = jwt.PyJWT(options={"enforce_minimum_key_length": True})


def verified_claims(configured: SingleSignOn, id_token: object, nonce: str) -> dict[str, Any]:
    """Return the claims of an ID token that the provider made for this very sign-in.

    Raises SignInRefusedError.
    """
    if not isinstance(id_token, str):
        raise untrusted("no ID token")
    try:
        claims = _DECODER.decode(
            id_token,
            key=_key_of(configured, id_token),
            algorithms=ALGORITHMS,
            audience=configured.client_id,
            issuer=configured.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": _NEEDED},
        )
    except (jwt.PyJWTError, RecursionError) as error:
        raise untrusted(f"ID token: {type(error).__name__}") from None
    _check_party(claims, configured.client_id)
    given = claims.get("nonce")
    if not isinstance(given, str) or not secrets.compare_digest(given.encode(), nonce.encode()):
        raise untrusted("ID token: wrong nonce")
    subject = claims["sub"]
    if not subject or len(subject) > MAX_SUBJECT or "\x00" in subject:
        raise untrusted("ID token: unusable subject")
    return claims


def _check_party(claims: dict[str, Any], client_id: str) -> None:
    """Refuse a token that was made for somebody else, and for us beside them."""
    audience, party = claims["aud"], claims.get("azp")
    several = isinstance(audience, list) and len(audience) > 1
    if party != client_id and (several or party is not None):
        raise untrusted("ID token: wrong azp")


def _key_of(configured: SingleSignOn, id_token: str) -> PyJWK:
    """Return the key that a token says it is signed with; new keys are asked for once."""
    header = jwt.get_unverified_header(id_token)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise untrusted("ID token: algorithm not allowed")
    for published in (keys(configured), keys(configured, older_than=REFETCH_SECONDS)):
        fitting = [key for key in published if _fits(key, algorithm, key_id)]
        if len(fitting) == 1:
            return PyJWK(fitting[0], algorithm)
    raise untrusted("ID token: unknown key")


def _fits(key: dict[str, Any], algorithm: str, key_id: object) -> bool:
    """Tell whether a key may have signed; without an id it must be the only one that may."""
    kinds = {"R": "RSA", "P": "RSA", "E": "EC"}
    kind = "OKP" if algorithm == "EdDSA" else kinds[algorithm[0]]
    return (
        key.get("kty") == kind
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (key_id is None or key.get("kid") == key_id)
    )
