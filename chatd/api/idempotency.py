"""Idempotency-Key: a write that is sent twice is carried out once.

The key is claimed in the transaction of the write itself, so that either both happened or neither
did. A second request with the key waits for the first one, and gets its answer. A refused write
leaves nothing behind: the key is free again.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from io import BytesIO

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from rest_framework.request import Request

from chatd.accounts.models import User
from chatd.api.models import StoredAnswer
from chatd.api.rendering import ContractJSONRenderer
from chatd.core.clock import now
from chatd.core.errors import bad_request, conflict

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = timedelta(hours=24)

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Handler = Callable[..., HttpResponse]


def run_once(handler: Handler, user: User, request: Request, **path: str) -> HttpResponse:
    """Carry out a write unless its key was used, then return the stored answer.

    Raises ChatdError 400 for a malformed key, 409 for one that was used for another request.
    """
    key = request.headers[HEADER]
    if not _KEY.fullmatch(key):
        raise bad_request(
            f"Invalid {HEADER} header.",
            detail="A key is 1 to 255 visible ASCII characters, different for every request.",
        )
    fingerprint = _fingerprint(request)
    earlier = _find(user, key)
    if earlier is None:
        try:
            with transaction.atomic():
                claim = StoredAnswer.objects.create(user=user, key=key, fingerprint=fingerprint)
                return _keep(claim, handler(request, **path))
        except IntegrityError:
            earlier = _find(user, key)
            if earlier is None:
                raise  # it was not the key that clashed
    if earlier.fingerprint != fingerprint:
        raise conflict(
            f"The {HEADER} was used for another request.",
            detail="Use a new key for every request that differs in route or body.",
        )
    return _replay(earlier)


def _find(user: User, key: str) -> StoredAnswer | None:
    """Return the answer that is kept for a key; one that is too old is forgotten."""
    found = StoredAnswer.objects.filter(user=user, key=key).first()
    if found is not None and found.created_at < now() - KEPT:
        found.delete()
        return None
    return found


def _fingerprint(request: Request) -> str:
    """Return a digest of method, URL and body; the body can be read again after it."""
    http_request = request._request
    body = http_request.read()
    http_request._stream = BytesIO(body)
    head = f"{http_request.method} {http_request.get_full_path()}\n".encode()
    return sha256(head + body).hexdigest()


def _keep(claim: StoredAnswer, answer: HttpResponse) -> HttpResponse:
    claim.status = answer.status_code
    if hasattr(answer, "data"):
        claim.body = ContractJSONRenderer().render(answer.data)
        claim.content_type = "application/json; charset=utf-8"
    else:
        claim.body = answer.content
        claim.content_type = answer["Content-Type"]
    claim.save(update_fields=["status", "body", "content_type"])
    return answer


def _replay(stored: StoredAnswer) -> HttpResponse:
    body = bytes(stored.body)
    answer = HttpResponse(body, status=stored.status)
    if body:
        answer["Content-Type"] = stored.content_type
    else:
        del answer["Content-Type"]
    answer[REPLAYED] = "true"
    return answer


def purge_stored_answers() -> int:
    """Delete answers that are older than they are kept."""
    deleted, _ = StoredAnswer.objects.filter(created_at__lt=now() - KEPT).delete()
    return deleted
