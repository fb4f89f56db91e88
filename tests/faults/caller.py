"""Calls that come through: repeated under their Idempotency-Key, at whichever web answers.

This is how a careful client behaves. What a server may answer meanwhile is held to the contract: a
503 has `Retry-After` and a body in the API's error shape, and there is no other 5xx.
"""

import http.client
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

PATIENCE_SECONDS = 75.0
_ANSWER_SECONDS = 20.0
_MOST_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None


@dataclass
class Counts:
    """What all callers of a load saw. `unclean` are answers that no server should give."""

    repeated: int = 0
    refused: int = 0
    slowest_seconds: float = 0.0
    unclean: list[str] = field(default_factory=list)


class Caller:
    """One person's calls."""

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        token: str,
        chance: random.Random,
        counts: Counts,
    ) -> None:
        self._addresses = addresses
        self._token = token
        self._chance = chance
        self._counts = counts

    def read(self, path: str) -> Any:
        """Return the body of a GET."""
        answer = self.until_answered("GET", path)
        assert answer.status == 200, (path, answer.status, answer.raw[:300])
        return answer.body

    def write(self, method: str, path: str, body: Any) -> Answer:
        """Have something written once and return the answer, which may be a refusal."""
        return self.until_answered(method, path, body, key=uuid4().hex)

    def until_answered(self, method: str, path: str, body: Any = None, *, key: str = "") -> Answer:
        """Repeat a call while its outcome is unknown. Raises AssertionError in the end."""
        began = time.monotonic()
        while True:
            answer, pause = self._tried(method, path, body, key)
            if answer is not None:
                return answer
            if time.monotonic() > began + PATIENCE_SECONDS:
                raise AssertionError(f"{method} {path} was not answered in {PATIENCE_SECONDS:g} s")
            self._counts.repeated += 1
            time.sleep(pause)

    def _tried(self, method: str, path: str, body: Any, key: str) -> tuple[Answer | None, float]:
        pause = self._chance.uniform(0.1, 0.4)
        url = self._chance.choice(self._addresses())
        began = time.monotonic()
        try:
            answer = once(url, self._token, method, path, body, key=key)
        except (OSError, http.client.HTTPException):
            return None, pause
        finally:
            took = time.monotonic() - began
            self._counts.slowest_seconds = max(self._counts.slowest_seconds, took)
        if answer.status < 500:
            return answer, 0.0
        self._counts.refused += 1
        problem = wrong_with(answer)
        if problem:
            self._counts.unclean.append(f"{method} {path}: {problem}")
        return None, min(float(answer.headers.get("Retry-After", pause)), _MOST_PAUSE)


def once(
    url: str,
    token: str,
    method: str,
    path: str,
    body: Any = None,
    *,
    key: str = "",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Call once. A body of bytes is sent as it is. Raises OSError or HTTPException."""
    place = urlsplit(url)
    assert place.hostname is not None
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=_ANSWER_SECONDS)
    sent = {"Coder-Session-Token": token, "Accept": "application/json", **(headers or {})}
    if key:
        sent["Idempotency-Key"] = key
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    if payload is not None:
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, body=payload, headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def wrong_with(answer: Answer) -> str:
    """Return what is wrong with a 5xx, blank for a clean 503."""
    said = f"{answer.status} {answer.raw[:200]!r}"
    if answer.status != 503 or not answer.headers.get("Retry-After", "").isdigit():
        return said
    try:
        is_clean = isinstance(answer.body["message"], str)
    except (ValueError, KeyError, TypeError):
        is_clean = False
    return "" if is_clean else said
