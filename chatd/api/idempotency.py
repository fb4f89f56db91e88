"""Idempotency-Key: a write that is sent twice is carried out once.

The key is claimed in the transaction of the write itself, so that either both happened or neither
did. A second request with the key waits for the first one, and gets its answer. A refused write
leaves nothing behind: the key is free again.

A slow write waits for another server before it writes, which no transaction may. It claims its
key in a transaction of its own; what it writes in the end and its answer are stored in one.
Meanwhile a second request is told to come back. Who dies with a claim loses it after a minute.

A request may hold a password, so it is stored as a digest that only this deployment can make. An
answer that holds a secret is stored encrypted (`secret_answer`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial, wraps
from io import BytesIO
from typing import Any, TypeVar, cast

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.utils.crypto import salted_hmac
from rest_framework.request import Request

from chatd.accounts.models import User
from chatd.api.models import StoredAnswer
from chatd.api.rendering import ContractJSONRenderer
from chatd.core.clock import now
from chatd.core.crypto import UndecryptableError
from chatd.core.errors import ChatdError, ErrorCode, bad_request, conflict
from chatd.core.fields import open_secret, seal

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = timedelta(hours=24)
CLAIM_KEPT = timedelta(minutes=1)
COME_BACK_SECONDS = 2

KEY = re.compile(r"[\x21-\x7e]{1,255}")

Handler = Callable[..., HttpResponse]
H = TypeVar("H", bound=Callable[..., Any])
Finish = Callable[[], HttpResponse]
Opened = Callable[..., AbstractContextManager[Finish]]


def slow_write(halves: Callable[..., Iterator[Finish]]) -> Handler:
    """Declare a handler that waits before it writes: a generator that yields once.

    It does its waiting first, outside of any transaction, and yields what writes and answers. That
    runs in one transaction with the stored answer where there is one. What follows the yield (a
    `finally`, the end of a `with`) runs after that transaction, whatever happened.
    """
    opened = contextmanager(halves)

    @wraps(halves)
    def handler(view: Any, request: Request, **path: str) -> HttpResponse:
        with opened(view, request, **path) as finish:
            return finish()

    cast("Any", handler).opened = opened
    return handler


def secret_answer(handler: H) -> H:
    """Declare a handler whose answer holds what is shown once."""
    cast("Any", handler).answers_secret = True
    return handler


def run_once(handler: Handler, user: User, request: Request, /, **path: str) -> HttpResponse:
    """Carry out a write unless its key was used, then return the stored answer.

    Raises ChatdError 400 for a malformed key, 409 for one that was used for another request, or
    for the same one that is still being carried out.
    """
    key = request.headers[HEADER]
    if not KEY.fullmatch(key):
        raise bad_request(
            f"Invalid {HEADER} header.",
            detail="A key is 1 to 255 visible ASCII characters, different for every request.",
        )
    fingerprint = _fingerprint(request)
    earlier = _find(user, key)
    if earlier is None:
        claim = StoredAnswer(user=user, key=key, fingerprint=fingerprint)
        run = _run_slow if hasattr(handler, "opened") else _run
        try:
            return run(handler, claim, request, path)
        except IntegrityError:
            earlier = _find(user, key)
            if earlier is None:
                raise  # it was not the key that clashed
    if earlier.fingerprint != fingerprint:
        raise conflict(
            f"The {HEADER} was used for another request.",
            detail="Use a new key for every request that differs in route or body.",
        )
    if not earlier.status:
        _take_over(earlier)
        return _carry_out(handler, earlier, request, path)
    return _replay(handler, earlier)


def _run(
    handler: Handler, claim: StoredAnswer, request: Request, path: Mapping[str, str]
) -> HttpResponse:
    with transaction.atomic():
        claim.save(force_insert=True)
        return _keep(handler, claim, handler(request, **path))


def _run_slow(
    handler: Handler, claim: StoredAnswer, request: Request, path: Mapping[str, str]
) -> HttpResponse:
    with transaction.atomic():
        claim.save(force_insert=True)
    return _carry_out(handler, claim, request, path)


def _carry_out(
    handler: Handler, claim: StoredAnswer, request: Request, path: Mapping[str, str]
) -> HttpResponse:
    """Run a slow write whose key is claimed; the claim ends with it, one way or the other."""
    bound = cast("Any", handler)
    opened: Opened = partial(bound.opened, bound.__self__)
    try:
        with opened(request, **path) as finish, transaction.atomic():
            return _keep(handler, claim, finish())
    except BaseException:
        StoredAnswer.objects.filter(**_ours(claim), status=0).delete()
        raise


def _take_over(claim: StoredAnswer) -> None:
    """Make a claim that its holder died with one's own. Raises ChatdError 409 while it may live."""
    taken = 0
    if claim.created_at < now() - CLAIM_KEPT:
        ours, claim.created_at = _ours(claim), now()
        taken = StoredAnswer.objects.filter(**ours, status=0).update(created_at=claim.created_at)
    if not taken:
        raise _still_running()


def _ours(claim: StoredAnswer) -> dict[str, Any]:
    """Return what finds a claim as long as nobody has taken it over."""
    return {"pk": claim.pk, "created_at": claim.created_at}


def _still_running() -> ChatdError:
    return ChatdError(
        ErrorCode.CONFLICT,
        f"The request with this {HEADER} is still being carried out.",
        detail="Send it again in a moment to get its answer.",
        retry_after_seconds=COME_BACK_SECONDS,
    )


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
    return salted_hmac("chatd.idempotency", head + body, algorithm="sha256").hexdigest()


def _keep(handler: Handler, claim: StoredAnswer, answer: HttpResponse) -> HttpResponse:
    """Store the answer, in the transaction of the write. Raises when the claim was taken over."""
    if hasattr(answer, "data"):
        body = ContractJSONRenderer().render(answer.data)
        content_type = "application/json; charset=utf-8"
    else:
        body, content_type = answer.content, answer["Content-Type"]
    if _is_secret(handler):
        body = seal(body.decode()).encode()
    kept = StoredAnswer.objects.filter(**_ours(claim)).update(
        status=answer.status_code, body=body, content_type=content_type
    )
    if not kept:
        raise _still_running()
    return answer


def _is_secret(handler: Handler) -> bool:
    return hasattr(handler, "answers_secret")


def _replay(handler: Handler, stored: StoredAnswer) -> HttpResponse:
    body = bytes(stored.body)
    if _is_secret(handler):
        try:
            body = open_secret(body.decode()).encode()
        except UndecryptableError:
            raise conflict(
                "The answer cannot be read any more.",
                detail="It was stored under an encryption key that is gone. Use a new key.",
            ) from None
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
