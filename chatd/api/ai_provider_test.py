"""Trying an AI provider out."""

from collections.abc import Iterator
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.ai_providers import ProviderFields
from chatd.api.documenting import Operation
from chatd.api.idempotency import Finish, slow_write
from chatd.api.parsing import decode_body
from chatd.api.views import ResourceViewSet
from chatd.core.errors import bad_request
from chatd.core.shapes import shaped
from chatd.providers import shapes
from chatd.providers.probe import Probe, probe_draft, probe_stored

NOT_YET_NAMED = "unnamed"


class TestAIProviderRequest(ProviderFields, kw_only=True):
    """A provider as it would be made, or the `id` of a stored one, which may be tried with another
    `api_key`. The name may be left out."""

    id: UUID | None = None
    api_key: str | None = None


class AIProviderTestViewSet(ResourceViewSet):
    """`/api/v2/ai/providers/test`."""

    @Operation(
        "testAIProvider",
        "Ask a provider for its models, before or after it is stored",
        description="Waits for the provider, up to 10 seconds. Nothing is stored.",
        answer=shapes.ProviderTest,
        body=TestAIProviderRequest,
        refusals=[403, 404],
    )
    @slow_write
    def create(self, request: Request) -> Iterator[Finish]:
        probe = self._probe(request, decode_body(request, TestAIProviderRequest))
        yield lambda: Response(_body(probe))

    def _probe(self, request: Request, asked: TestAIProviderRequest) -> Probe:
        actor = self.actor(request)
        if asked.id is None:
            asked.name = asked.name or NOT_YET_NAMED
            return probe_draft(actor, asked.draft())
        if asked.type or asked.base_url or asked.api_keys or asked.settings:
            raise bad_request(
                "Give the id of a stored provider or the fields of a new one, not both."
            )
        return probe_stored(actor, asked.id, asked.api_key or "")


def _body(probe: Probe) -> shapes.ProviderTest:
    body: shapes.ProviderTest = {
        "ok": probe.ok,
        "detail": probe.detail,
        "models": list(probe.models),
    }
    return shaped(shapes.ProviderTest, body)
