"""What the tests of the administration pages share."""

from html import unescape

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.audit.models import AuditEntry
from chatd.providers.models import AIProvider

PEOPLE = "/admin/accounts/user/"
ORGANIZATIONS = "/admin/accounts/organization/"
GROUPS = "/admin/accounts/group/"
TOKENS = "/admin/accounts/apikey/"
AUDIT = "/admin/audit/auditentry/"

SECRET = "the-provider-key-0123456789"
PROVIDER = {
    "type": "openai-compat",
    "name": "team-gateway",
    "display_name": "Team gateway",
    "enabled": "on",
    "base_url": "http://gateway:4000/v1",
    "central_api_key_enabled": "on",
    "new_key": SECRET,
}


def model_form(provider: AIProvider, **changes: str) -> dict[str, str]:
    """Return the fields of a model, filled in."""
    form = {
        "ai_provider": str(provider.pk),
        "model": "some-model",
        "display_name": "Some model",
        "enabled": "on",
        "context_limit": "128000",
        "compression_threshold": "70",
    }
    return form | changes


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
