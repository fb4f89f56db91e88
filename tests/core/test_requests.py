"""One line per request, without what must not stand in a log; the correlation id."""

import pytest
import structlog
from django.test import Client
from structlog.testing import LogCapture

from chatd.core import middleware


@pytest.fixture
def logged(monkeypatch) -> LogCapture:
    """The lines of the middleware."""
    capture = LogCapture()
    monkeypatch.setattr(
        middleware,
        "log",
        structlog.wrap_logger(
            structlog.PrintLogger(),
            processors=[structlog.contextvars.merge_contextvars, capture],
        ),
    )
    return capture


@pytest.mark.parametrize("name", ["coder_session_token", "access_token"])
def test_a_line_has_the_path_without_its_query(db, logged, name):
    response = Client().get(f"/api/experimental/chats?{name}=very-secret&x=%00")
    (line,) = logged.entries
    assert line.pop("ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/api/experimental/chats",
        "status": 401,
        "correlation_id": response["X-Request-ID"],
    }


@pytest.mark.parametrize("path", ["/healthz", "/static/nothing.css"])
def test_noise_is_not_logged(db, logged, path):
    Client().get(path)
    assert logged.entries == []


def test_no_header_is_logged(db, logged):
    Client().get("/api/x", headers={"Coder-Session-Token": "very-secret", "Cookie": "a=secret"})
    assert "secret" not in str(logged.entries)


@pytest.mark.parametrize("given", ["abc", "A.b_c-9", "x" * 64])
def test_a_sane_request_id_of_the_caller_is_kept(db, logged, given):
    response = Client().get("/api/x", headers={"X-Request-ID": given})
    assert response["X-Request-ID"] == given
    assert logged.entries[0]["correlation_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é", "a;b", "{}"])
def test_any_other_is_replaced(db, given):
    client = Client()
    answers = [client.get("/api/x", headers={"X-Request-ID": given}) for _ in range(2)]
    ids = {answer["X-Request-ID"] for answer in answers}
    assert len(ids) == 2
    assert all(len(one) == 16 for one in ids)
