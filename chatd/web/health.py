"""Health of the process, for supervisors and load balancers."""

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from chatd.core.coverage import secrets_notice
from chatd.live.backend import live_backend


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer as long as the process serves requests."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database and live layer are usable, else 503 and what is not.

    Without all secrets the process is ready, for what needs none: it is `degraded`, and told why.
    """
    checks = {"database": _database(), "live": _live()}
    ready = all(state == "ok" for state in checks.values())
    checks["secrets"] = _secrets() if ready else "unknown"
    status = "unavailable" if not ready else "ok" if checks["secrets"] == "ok" else "degraded"
    return JsonResponse({"status": status, "checks": checks}, status=200 if ready else 503)


def _database() -> str:
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "unreachable"
    return "not migrated" if pending else "ok"


def _secrets() -> str:
    try:
        return secrets_notice() or "ok"
    except DatabaseError:
        return "unknown"


def _live() -> str:
    try:
        live_backend().ping()
    except Exception:  # noqa: BLE001 - whatever a backend raises, it is not ready
        return "unreachable"
    return "ok"
