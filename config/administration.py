"""How the administration looks and what its menu has. Who may open what is `accounts.policy`."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _may_view(model: str) -> Callable[[HttpRequest], bool]:
    app, name = model.split(".")
    return lambda request: request.user.has_perm(f"{app}.view_{name}")


def _page(title: str, icon: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
        "permission": _may_view(model),
    }


def _group(title: str, *pages: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "items": list(pages)}


NAVIGATION: list[dict[str, Any]] = [
    {
        "items": [
            {"title": "Overview", "icon": "home", "link": reverse_lazy("admin:index")},
        ]
    },
    _group(
        "Models",
        _page("Providers", "hub", "providers.aiprovider"),
        _page("Models", "neurology", "providers.modelconfig"),
        _page("Prices", "sell", "providers.modelprice"),
        _page("MCP servers", "extension", "mcp.mcpserverconfig"),
    ),
    _group(
        "People",
        _page("People", "person", "accounts.user"),
        _page("Organisations", "domain", "accounts.organization"),
        _page("Groups", "group", "accounts.group"),
        _page("API tokens", "key", "accounts.apikey"),
    ),
    _group(
        "Operation",
        _page("Settings", "tune", "preferences.sitesetting"),
        _page("Spend", "payments", "spending.spend"),
        _page("Usage limits", "speed", "spending.usagelimitconfig"),
        _page("Chats", "forum", "chats.chat"),
        _page("Failed turns", "error", "chats.failedturn"),
        _page("Audit log", "history", "audit.auditentry"),
    ),
]

# The accent of the pages, from light to dark.
_PRIMARY = {
    "50": "#eef7f6",
    "100": "#d5ebe8",
    "200": "#aed7d2",
    "300": "#7cc4bc",
    "400": "#4fa59c",
    "500": "#3a8a82",
    "600": "#2f6f6a",
    "700": "#235651",
    "800": "#1d4643",
    "900": "#193a38",
    "950": "#0b2220",
}

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "chatd administration",
    "SITE_HEADER": "chatd",
    "SITE_SUBHEADER": "Administration",
    "SITE_URL": "/chats",
    "SITE_SYMBOL": "forum",
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "COLORS": {"primary": _PRIMARY},
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("img/favicon.svg")}
    ],
    "SCRIPTS": [lambda request: static("js/administration.js")],
    "STYLES": [lambda request: static("css/administration.css")],
    "DASHBOARD_CALLBACK": "chatd.web.administration.overview",
    "SIDEBAR": {"navigation": NAVIGATION},
}
