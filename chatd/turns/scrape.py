"""What `/metrics` answers and to whom, for web processes and for workers of their own.

A scrape reads memory, or the files that processes of this machine share, and asks the database one
indexed question, for which it waits a second. What that does not answer is left out.
"""

import hmac
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address, ip_address

import structlog
from django.db import connection, connections, transaction
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from chatd.chats.models import Chat, Status
from chatd.core.metrics import CHATS, REGISTRY, refresh
from config.env import env

log = structlog.get_logger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
WAITING_SECONDS = 1.0
_REQUEST_SECONDS = 10.0

_guard = threading.Lock()
_asked: Future[int] | None = None


def may_scrape(address: str, authorization: str) -> bool:
    """Tell whether a caller may read: from this host, an allowed network, or by token."""
    scheme, _, token = authorization.partition(" ")
    if env.metrics_token and scheme.lower() == "bearer":
        given, wanted = token.strip().encode(), env.metrics_token.encode()
        if hmac.compare_digest(given, wanted):
            return True
    try:
        caller = ip_address(address)
    except ValueError:
        return False
    if isinstance(caller, IPv6Address) and caller.ipv4_mapped is not None:
        caller = caller.ipv4_mapped
    return caller.is_loopback or any(caller in network for network in env.metrics_allowed)


def exposition() -> bytes:
    """Return the metrics of this process, and of those that share its folder, as text."""
    refresh()
    return generate_latest(_Shown())


class _Shown(CollectorRegistry):
    """The metrics that processes count, and the chats that wait, which the database knows."""

    def collect(self) -> Iterator:  # type: ignore[type-arg]
        waiting = waiting_chats()
        for family in _counted().collect():
            if family.name == CHATS and waiting is not None:
                family.samples.append(Sample(CHATS, {"state": "waiting"}, waiting))
            yield family


def _counted() -> Collector:
    if env.metrics_dir:
        return MultiProcessCollector(None, path=env.metrics_dir)  # type: ignore[no-untyped-call]
    return REGISTRY


def waiting_chats() -> int | None:
    """Return how many chats wait for a worker; None when the database does not say so in time.

    A question that is not answered is not asked a second time beside it.
    """
    global _asked
    with _guard:
        if _asked is None or _asked.done():
            _asked = Future()
            threading.Thread(
                target=_answer, args=(_asked,), name="chatd-metrics", daemon=True
            ).start()
        asked = _asked
    try:
        return asked.result(WAITING_SECONDS)
    except Exception as error:  # noqa: BLE001 - whatever keeps the database, the rest is shown
        log.warning("waiting chats not counted", error=type(error).__name__)
        return None


def _answer(asked: Future[int]) -> None:
    try:
        asked.set_result(_count_waiting())
    except Exception as error:  # noqa: BLE001 - handed to who asked
        asked.set_exception(error)
    finally:
        connections.close_all()


def _count_waiting() -> int:
    waiting = Chat.objects.filter(status=Status.PENDING)
    if connection.vendor != "postgresql":
        return waiting.count()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = %s", [int(WAITING_SECONDS * 1000)])
        return waiting.count()


# a worker without a web process beside it


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        is_shown = self.path.partition("?")[0] == "/metrics"
        if not is_shown or not may_scrape(self.client_address[0], authorization):
            self.send_error(404)
            return
        body = exposition()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
        """Say nothing: scrapes come every few seconds."""


def serve_metrics(port: int) -> ThreadingHTTPServer | None:
    """Serve `/metrics` on every address, on a thread; None, and a log line, if that fails."""
    try:
        server = ThreadingHTTPServer(("", port), _Handler)
    except OSError as error:
        log.error("metrics cannot be served", port=port, error=str(error))
        return None
    threading.Thread(target=server.serve_forever, name="chatd-metrics-port", daemon=True).start()
    log.info("metrics are served", port=port)
    return server
