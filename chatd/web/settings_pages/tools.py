"""The MCP servers one may use, and one's own connections to them: begun here, and ended here."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from chatd.accounts.actor import Actor, acting
from chatd.accounts.models import LoginType, User
from chatd.api.mcp_oauth import returned, sent_off, taken_back
from chatd.api.mcp_servers import origin_of
from chatd.core.errors import ChatdError, ErrorCode, bad_request
from chatd.mcp.connections import (
    ACCESS_DENIED,
    Return,
    begin_connection,
    check_returned,
    disconnect,
    finish_connection,
)
from chatd.mcp.models import AuthType, MCPServerConfig
from chatd.mcp.secrets import unreadable_secrets
from chatd.mcp.selectors import (
    ConnectionState,
    ServerView,
    get_visible_server,
    list_servers_for,
)
from chatd.web.settings_pages.forms import Form
from chatd.web.settings_pages.frame import Refused, Shown, Standing, answer_form, settings_view

ROUTE = "settings_tools"
GONE = "There is no such MCP server any more."

_CONNECT = {
    ConnectionState.NONE: "Connect",
    ConnectionState.FAILING: "Connect again",
    ConnectionState.ENDED: "Connect again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A server with what can be done about one's connection to it."""

    server: MCPServerConfig
    standing: Standing
    connect: Form | None
    may_disconnect: bool


def standing_with(view: ServerView, user: User) -> Standing:
    """Return how a person stands with a server: whether it lets their calls in."""
    server = view.server
    if not server.enabled:
        return Standing("Switched off", "Chats do not use it, and only administrators see it.")
    match view.state:
        case ConnectionState.NOT_NEEDED:
            return _without_connection(server, user)
        case ConnectionState.CONNECTED:
            return Standing("Connected", "It lets you in by the connection that you made.", "done")
        case ConnectionState.FAILING:
            says = (
                "The connection cannot be renewed just now. That is tried again by itself; if it"
                " stays so, connect again."
            )
            return Standing("Not renewed", says, "error")
        case ConnectionState.ENDED:
            says = "The connection that you made has ended, and has to be made again."
            return Standing("Connect again", says, "error")
        case ConnectionState.NONE if not server.oauth2_auth_url:
            says = "An administrator has to say first where people connect."
            return Standing("Not set up", says, "error")
        case ConnectionState.NONE:
            return Standing("Not connected", "It lets you in once you have connected.")


def _without_connection(server: MCPServerConfig, user: User) -> Standing:
    if unreadable_secrets(server):
        says = "What it is shown cannot be read any more. An administrator has to enter it again."
        return Standing("Not ready", says, "error")
    if server.auth_type != AuthType.USER_OIDC:
        return Standing("Ready", "There is nothing to connect.", "done")
    if user.login_type != LoginType.OIDC:
        says = "It takes people who sign in with the account of their organisation."
        return Standing("Not for you", says)
    return Standing("Ready", "You connect by signing in.", "done")


@settings_view
def tools(request: HttpRequest) -> HttpResponse:
    """Show the servers one may use. Its forms are sent to pages of their own."""
    if request.method != "POST":
        return _show(request)
    return answer_form(request, {}, _show, route=ROUTE, blamed={})


@settings_view
def connect(request: HttpRequest, server_id: UUID) -> HttpResponse:
    """Send a person off to connect (POST); whoever comes here otherwise is shown the servers."""
    if request.method != "POST":
        return redirect(ROUTE)
    actor, origin = acting(request), origin_of(request)
    try:
        departure = begin_connection(actor, server_id, origin=origin, from_page=True)
    except ChatdError as error:
        return _not_connected(request, server_id, error)
    # 303, as what was posted here is not for the authorization server
    return sent_off(departure, server_id, status=303, back=_back(server_id))


@settings_view
def finish(request: HttpRequest, server_id: UUID) -> HttpResponse:
    """Connect a person who comes back, and lead to the servers, or say there why not."""
    came = returned(request, server_id)
    try:
        server = _finished(acting(request), server_id, came, origin=origin_of(request))
    except ChatdError as error:
        answer = _not_connected(request, server_id, error)
    else:
        messages.success(request, f"You are connected to “{server}”.")
        answer = redirect(ROUTE)
    answer["Cache-Control"] = "no-store"
    return taken_back(answer, server_id, back=_back(server_id))


def _finished(actor: Actor, server_id: UUID, came: Return, *, origin: str) -> MCPServerConfig:
    """Like `finish_connection`, but say nothing that a link of somebody else has brought along."""
    check_returned(actor.user, server_id, came)
    if came.error == ACCESS_DENIED:
        raise bad_request(
            "You are not connected: access was not allowed.", detail="Connect again to allow it."
        )
    return finish_connection(actor, server_id, came, origin=origin)


@settings_view
def end(request: HttpRequest, server_id: UUID) -> HttpResponse:
    """Ask whether to end one's connection (GET), or do it (POST)."""
    actor = acting(request)
    if request.method == "POST":
        disconnect(actor, server_id)  # also from a server that was switched off meanwhile
    try:
        server = get_visible_server(actor.user, server_id)
    except ChatdError:
        messages.info(request, GONE)
        return redirect(ROUTE)
    if request.method == "POST":
        messages.success(request, f"You are disconnected from “{server}”.")
        return redirect(ROUTE)
    return Shown(request, None).render("disconnect", ROUTE, {"server": server})


def _back(server_id: UUID) -> str:
    return reverse("finish_tool_connection", args=[server_id])


def _not_connected(request: HttpRequest, server_id: UUID, refusal: ChatdError) -> HttpResponse:
    if refusal.code is ErrorCode.NOT_FOUND:
        messages.info(request, GONE)
        return redirect(ROUTE)
    return _show(request, Refused(name=_form_name(server_id), refusal=refusal))


def _show(request: HttpRequest, last: Refused | None = None) -> HttpResponse:
    shown, user = Shown(request, last), acting(request).user
    context = {
        "rows": [_row(shown, view, user) for view in list_servers_for(user)],
        "may_add": user.is_staff and user.has_perm("mcp.add_mcpserverconfig"),
    }
    return shown.render("tools", ROUTE, context)


def _row(shown: Shown, view: ServerView, user: User) -> Row:
    server, submit = view.server, _CONNECT.get(view.state, "")
    can_connect = submit and server.enabled and server.oauth2_auth_url
    return Row(
        server=server,
        standing=standing_with(view, user),
        connect=shown.form(_connect_form(server, submit)) if can_connect else None,
        may_disconnect=view.state not in (ConnectionState.NOT_NEEDED, ConnectionState.NONE),
    )


def _connect_form(server: MCPServerConfig, submit: str) -> Form:
    return Form(
        name=_form_name(server.pk),
        submit=submit,
        subject=f"to {server}",
        is_primary=False,
        fields=[],
    )


def _form_name(server_id: UUID) -> str:
    return f"connect:{server_id}"
