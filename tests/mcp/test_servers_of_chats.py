"""Which servers a chat has."""

import pytest

from chatd.mcp.models import Availability, MCPServerConfig
from chatd.mcp.selectors import server_ids_of

pytestmark = pytest.mark.django_db


def server(slug: str, availability: Availability, *, enabled: bool = True) -> str:
    made = MCPServerConfig.objects.create(
        display_name=slug,
        slug=slug,
        url="http://tools.example/mcp",
        availability=availability,
        enabled=enabled,
    )
    return str(made.pk)


def test_a_chat_has_the_servers_it_names_and_those_that_are_in_every_chat() -> None:
    forced = server("forced", Availability.FORCE_ON)
    server("forced-but-off", Availability.FORCE_ON, enabled=False)
    named = server("named", Availability.DEFAULT_OFF)
    server("other", Availability.DEFAULT_ON)
    assert server_ids_of([named]) == [named, forced]
    assert server_ids_of([]) == [forced]
    assert server_ids_of([forced]) == [forced]
