"""Connecting oneself to an MCP server: off to its authorization server and back.

The answers are for browsers: a redirect, and a page for the window that was opened for it.
"""

import secrets
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation, text
from chatd.api.mcp_servers import origin_of, server_id_of
from chatd.api.views import ResourceViewSet
from chatd.core.errors import ChatdError
from chatd.mcp.connections import (
    Departure,
    Return,
    begin_connection,
    disconnect,
    finish_connection,
    is_from_page,
)
from chatd.mcp.discovery import callback_path
from chatd.mcp.models import MCPServerConfig

COOKIE_SECONDS = 600
HTML = "text/html"


class MCPConnectViewSet(ResourceViewSet):
    """`/mcp/servers/{server}/oauth2/…`."""

    @Operation(
        "connectMCPServer",
        "Send a browser off to let chatd use an MCP server for its person",
        description="Sets two cookies for the way back. For a window that the page opens.",
        status=307,
        refusals=[403],
    )
    def connect(self, request: Request, server: str) -> HttpResponse:
        server_id = server_id_of(server)
        actor, origin = self.actor(request), origin_of(request._request)
        departure = begin_connection(actor, server_id, origin=origin)
        return sent_off(departure, server_id, status=307, back=callback_path(server_id))

    @Operation(
        "finishMCPServerConnection",
        "Take a browser back from an authorization server",
        description="The page tells the window that opened it"
        ' `{"type": "mcp-oauth2-complete", "serverID": …}`, also on the BroadcastChannel'
        " `mcp-oauth2` of this origin. Waits up to 15 seconds.",
        answer={HTML: {"type": "string"}},
        redirects={303: "Whom the page of settings sent off is led back to it, to be connected."},
        parameters=[
            text("code", "What is exchanged for tokens."),
            text("state", "What the browser was sent off with."),
            text("error", "Why there is no code."),
            text("error_description", "The same in words."),
        ],
        refusals=[403, 502],
    )
    def callback(self, request: Request, server: str) -> HttpResponseBase:
        server_id = server_id_of(server)
        actor, origin = self.actor(request), origin_of(request._request)
        came = returned(request._request, server_id)
        if is_from_page(came.state):
            return uncached(_led_on(request._request, server_id))
        answer: HttpResponse
        try:
            answer = _connected_page(finish_connection(actor, server_id, came, origin=origin))
        except ChatdError as refusal:
            answer = Response(refusal.body(), status=refusal.http_status, headers=refusal.headers)
        return uncached(taken_back(answer, server_id, back=callback_path(server_id)))

    @Operation(
        "disconnectMCPServer",
        "End one's own connection to an MCP server; none is a success",
        status=204,
        refusals=[403],
    )
    def disconnect(self, request: Request, server: str) -> Response:
        disconnect(self.actor(request), server_id_of(server))
        return Response(status=204)


# what one attempt is made of, also for the page of settings


def sent_off(departure: Departure, server_id: UUID, *, status: int, back: str) -> HttpResponse:
    """Return the answer that sends a browser off; it brings what it keeps to the path `back`."""
    answer = HttpResponse(status=status, headers={"Location": departure.url})
    del answer["Content-Type"]
    for name, value in (("state", departure.state), ("verifier", departure.verifier)):
        answer.set_cookie(
            _cookie(name, server_id),
            value,
            max_age=COOKIE_SECONDS,
            path=back,
            secure=bool(settings.SESSION_COOKIE_SECURE),
            httponly=True,
            samesite="Lax",
        )
    return uncached(answer)


def returned(request: HttpRequest, server_id: UUID) -> Return:
    """Return what a browser came back with."""
    query, cookies = request.GET, request.COOKIES
    return Return(
        error=query.get("error", ""),
        error_description=query.get("error_description", ""),
        code=query.get("code", ""),
        state=query.get("state", ""),
        kept_state=cookies.get(_cookie("state", server_id), ""),
        kept_verifier=cookies.get(_cookie("verifier", server_id), ""),
    )


def taken_back(answer: HttpResponse, server_id: UUID, *, back: str) -> HttpResponse:
    """Have the browser throw away what it kept: whatever came of it, it was for this once."""
    for name in ("state", "verifier"):
        answer.delete_cookie(_cookie(name, server_id), path=back)
    return answer


def uncached(answer: HttpResponse) -> HttpResponse:
    """Keep codes and states out of caches, and out of what other servers are told."""
    answer["Cache-Control"] = "no-store"
    answer["Referrer-Policy"] = "no-referrer"
    return answer


def _cookie(name: str, server_id: UUID) -> str:
    return f"mcp_oauth2_{name}_{server_id}"


def _led_on(request: HttpRequest, server_id: UUID) -> HttpResponse:
    """Lead on to the page, whose cookies come with the next request alone."""
    page = reverse("finish_tool_connection", args=[server_id])
    answer = HttpResponse(status=303, headers={"Location": f"{page}?{request.GET.urlencode()}"})
    del answer["Content-Type"]
    return answer


def _connected_page(server: MCPServerConfig) -> HttpResponse:
    nonce = secrets.token_urlsafe(16)
    message = {"type": "mcp-oauth2-complete", "serverID": str(server.pk)}
    context = {"server": server, "message": message, "nonce": nonce}
    page = HttpResponse(render_to_string("api/mcp_connected.html", context))
    page["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; img-src 'self'; script-src 'nonce-{nonce}';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    page["X-Content-Type-Options"] = "nosniff"
    # with the usual policy the page would be cut off from the window that opened it
    page["Cross-Origin-Opener-Policy"] = "unsafe-none"
    return page
