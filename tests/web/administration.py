"""What the tests of the administration pages share."""

from html import unescape

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.audit.models import AuditEntry

PEOPLE = "/admin/accounts/user/"
ORGANIZATIONS = "/admin/accounts/organization/"
GROUPS = "/admin/accounts/group/"
TOKENS = "/admin/accounts/apikey/"
AUDIT = "/admin/audit/auditentry/"


def told() -> list[tuple[str, str, list[str]]]:
    """Return what the audit log says: what was changed, how, and which fields."""
    return [
        (entry.resource_type, str(entry.action), sorted(entry.changes))
        for entry in AuditEntry.objects.order_by("id")
    ]


def shown(client: Client, address: str, status: int = 200) -> str:
    """Return the text of a page."""
    answer = client.get(address)
    assert answer.status_code == status, (address, answer.status_code)
    return unescape(answer.content.decode())


def cost(client: Client, address: str) -> int:
    """Return how many queries a page takes."""
    with CaptureQueriesContext(connection) as captured:
        shown(client, address)
    return len(captured.captured_queries)
