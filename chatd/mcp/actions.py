"""Making, changing and deleting MCP servers: the only writer of their rows, for API and admin.

A server whose OAuth part is discovered is made in two steps: `prepare_server` waits for the
network, `insert_server` stores. What others keep about a server goes with it: `SERVER_ENDINGS`.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db import IntegrityError, transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.audit.actions import Resource, record, refusals_recorded
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.endings import Endings
from chatd.core.errors import conflict, forbidden, not_found
from chatd.core.fields import seal
from chatd.mcp.discovery import discover
from chatd.mcp.drafts import PLAIN_FIELDS, ServerFields, check_changes, check_new_server
from chatd.mcp.models import MCPServerConfig
from chatd.mcp.secrets import SECRETS, seal_headers

SERVER_ENDINGS: Endings[[UUID]] = Endings()
"""Remove what other apps keep about a server, by its id, when it is deleted."""

SLUG_TAKEN = "MCP server config already exists."
CHANGED_SLUG_TAKEN = "MCP server config slug already exists."

_FIXED_FOR_TOKENS = ("auth_type", "oauth2_client_id", "oauth2_token_url")
"""Where people's tokens go to be refreshed; another place must never see them."""


def check_may_configure(user: User) -> None:
    """Raise the 403 for who may not change the settings of the deployment."""
    if SiteRight.CONFIG_UPDATE not in site_rights(user):
        raise forbidden(detail="Only administrators may change MCP servers.")


def prepare_server(
    actor: Actor, read: Callable[[], ServerFields], *, origin: str
) -> MCPServerConfig:
    """Return a server that can be stored; `read` decodes it, once the rights are known.

    Waits for the network where the OAuth part is discovered, so it must not be called in a
    transaction. `origin` is where people reach this deployment. Raises ChatdError 400, 403, 409.
    """
    check_may_configure(actor.user)
    wanted = read().trimmed()
    check_new_server(wanted)
    server = MCPServerConfig(api_key_header="", created_by=actor.user)
    _apply(server, wanted)
    if MCPServerConfig.objects.filter(slug=server.slug).exists():
        raise conflict(SLUG_TAKEN)
    if wanted.wants_discovery:
        discover(server, origin=origin)
    return server


@transaction.atomic
def insert_server(actor: Actor, server: MCPServerConfig) -> MCPServerConfig:
    """Store a prepared server. Raises ChatdError 403, 409 for a slug that is taken."""
    check_may_configure(actor.user)
    server.updated_by = actor.user
    _save(server, SLUG_TAKEN, new=True)
    record(actor.author, Action.CREATE, _resource(server), after=_audited(server))
    return server


def update_server(
    actor: Actor, which: Callable[[], UUID], read: Callable[[], ServerFields]
) -> MCPServerConfig:
    """Change a server; `read` decodes the change, once it is known that there is such a server.

    Secrets of another kind of server than it becomes are removed, and people's tokens when they
    would go to another place. Raises ChatdError 400, 403, 404, 409.
    """
    check_may_configure(actor.user)
    found = get_server(which())
    with refusals_recorded(actor.author, _resource(found)):
        wanted = read().trimmed()
        check_changes(wanted)
        with transaction.atomic():
            server = get_server(found.pk, lock=True)
            before, stood = _audited(server), _tokens_go_to(server)
            _apply(server, wanted)
            _forget_discovery(server, before)
            server.updated_at, server.updated_by = now(), actor.user
            _save(server, CHANGED_SLUG_TAKEN)
            if _tokens_go_to(server) != stood:
                server.tokens.all().delete()
            after = _audited(server)
            record(actor.author, Action.WRITE, _resource(server), before=before, after=after)
    return server


@transaction.atomic
def delete_server(actor: Actor, which: Callable[[], UUID]) -> None:
    """Delete a server with everybody's tokens; chats forget it. Raises ChatdError 403, 404."""
    check_may_configure(actor.user)
    server = get_server(which(), lock=True)
    record(actor.author, Action.DELETE, _resource(server), before=_audited(server))
    SERVER_ENDINGS.carry_out(server.pk)
    server.delete()


def get_server(server_id: UUID, *, lock: bool = False) -> MCPServerConfig:
    """Return a server, whoever asks; locked until the transaction ends. Raises ChatdError 404."""
    servers = MCPServerConfig.objects.all()
    found = (servers.select_for_update() if lock else servers).filter(pk=server_id).first()
    if found is None:
        raise not_found()
    return found


def _apply(server: MCPServerConfig, wanted: ServerFields) -> None:
    for name in PLAIN_FIELDS:
        if (value := getattr(wanted, name)) is not None:
            setattr(server, name, value)
    if wanted.auth_type is not None:
        for name, kind in SECRETS.items():
            if kind != wanted.auth_type:
                setattr(server, name, "")
    if wanted.oauth2_client_secret is not None:
        server.oauth2_client_secret = seal(wanted.oauth2_client_secret)
    if wanted.api_key_value is not None:
        server.api_key_value = seal(wanted.api_key_value)
    if wanted.custom_headers is not None:
        server.custom_headers = seal_headers(wanted.custom_headers)


def _forget_discovery(server: MCPServerConfig, before: Mapping[str, Any]) -> None:
    """What was found out about one place says nothing about another."""
    if any(getattr(server, name) != before[name] for name in (*_FIXED_FOR_TOKENS, "url")):
        server.oauth2_auth_method = server.oauth2_resource = ""


def _tokens_go_to(server: MCPServerConfig) -> tuple[str, ...]:
    parts = urlsplit(server.url)
    here = f"{parts.scheme}://{parts.netloc}"
    return (here, *(getattr(server, name) for name in _FIXED_FOR_TOKENS))


def _save(server: MCPServerConfig, taken: str, *, new: bool = False) -> None:
    try:
        with transaction.atomic():
            server.save(force_insert=new, force_update=not new)
    except IntegrityError:
        raise conflict(taken) from None


def _resource(server: MCPServerConfig) -> Resource:
    return Resource("mcp_server_config", str(server.pk), server.display_name)


def _audited(server: MCPServerConfig) -> Mapping[str, Any]:
    """Return what the audit log compares; it masks the secrets by their names."""
    return {name: getattr(server, name) for name in (*PLAIN_FIELDS, *SECRETS)}
