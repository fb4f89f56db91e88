"""The same ladder on every route: works, anonymous, outsider, member, admin, owner, method."""

from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import resolve

from chatd.accounts.actions import create_token
from chatd.accounts.models import APIKey, User, UserStatus
from chatd.api.urls import urlpatterns
from chatd.core.clock import now
from tests.api.client import API, HEADER, NOT_FOUND, SIGNED_OUT, Api, Chats, api_of, rows
from tests.api.routes import (
    CHAT_ROUTES,
    COSTS,
    OWNER_ONLY,
    PUBLIC_ROUTES,
    ROUTES,
    ROUTES_OF_BYTES,
    WRITES,
    Route,
)
from tests.conftest import Cast
from tests.support.people import token_for

each_route = pytest.mark.parametrize("route", ROUTES, ids=str)
each_chat_route = pytest.mark.parametrize("route", CHAT_ROUTES, ids=str)
each_write = pytest.mark.parametrize("route", WRITES, ids=str)
each_owner_only = pytest.mark.parametrize("route", OWNER_ONLY, ids=str)


@pytest.fixture
def caller(route: Route, alice: Api, root: Api) -> Api:
    """Who may call the route: the chat's owner, or the site owner."""
    return root if route.admin else alice


def call(api: Api, route: Route, path: str, **options):
    path = route.url(path)
    if route.body is None:
        return api.call(route.method, path, **options)
    return api.call(route.method, path, route.body, **options)


def test_the_table_has_every_route_and_method():
    served = {
        (pattern.pattern.regex.pattern.removeprefix("^"), method)
        for pattern in urlpatterns
        for method in getattr(pattern.callback, "actions", {})
        if method != "head"
    }
    known = {*ROUTES_OF_BYTES, *PUBLIC_ROUTES}
    for route in ROUTES:
        path = route.path_with(chat="c", other="x")
        match = resolve(path if path.startswith("/api/") else API + path)
        known.add((match.route.removeprefix("api/"), route.method.lower()))
    assert known == served


@each_route
def test_a_good_call_by_the_owner_answers_the_exact_status(route, chats, caller):
    assert call(caller, route, route.scene(chats).path).status == route.status


@each_route
def test_a_trailing_slash_is_harmless(route, chats, caller):
    assert call(caller, route, f"{route.scene(chats).path}/").status == route.status


@pytest.mark.parametrize("path", ["/chats/files", "/chats/files/not-a-uuid"])
def test_routes_of_bytes_refuse_nobody_and_wrong_methods_like_the_others(path, alice):
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert Api().call(method, path).status == 401
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = alice.call(method, path)
        assert (answer.status, answer.body) == (405, {"message": "Method not allowed."})
    assert alice.call("POST" if path == "/chats/files" else "GET", path).status == 400


@each_route
def test_nobody_is_refused_before_the_path_is_looked_at(route, db):
    path = route.path_with(chat="not-a-uuid", other="x")
    answer = call(Api(), route, path)
    assert answer.status == 401
    assert answer.body == {
        "message": SIGNED_OUT,
        "detail": (
            'Cookie "coder_session_token" or query parameter "coder_session_token" must be'
            ' provided, or a "Coder-Session-Token" or "Authorization: Bearer" header.'
        ),
    }


def expired_token(user: User) -> tuple[str, str]:
    with time_machine.travel(now() - timedelta(days=3), tick=False):
        key, token = create_token(user=user, lifetime=timedelta(days=1))
    return token, f"API key expired at {key.expires_at.isoformat()}."


def suspended_token(user: User) -> tuple[str, str]:
    token = token_for(user)
    user.status = UserStatus.SUSPENDED
    user.save()
    return token, "The account is suspended or deleted."


def deleted_token(user: User) -> tuple[str, str]:
    token = token_for(user)
    user.deleted = True
    user.save()
    return token, "The account is suspended or deleted."


def unknown_key(user: User) -> tuple[str, str]:
    return f"{'A' * 10}-{'b' * 22}", "API key is invalid."


def wrong_secret(user: User) -> tuple[str, str]:
    return f"{token_for(user).split('-')[0]}-{'b' * 22}", "API key secret is invalid."


def revoked_token(user: User) -> tuple[str, str]:
    token = token_for(user)
    APIKey.objects.all().delete()
    return token, "API key is invalid."


BAD_FORM = "Session token has an invalid format."
MAKERS = {
    "bad format": lambda user: ("nonsense", BAD_FORM),
    "too long": lambda user: (f"{token_for(user)}x", BAD_FORM),
    "very long": lambda user: ("a" * 4000, BAD_FORM),
    "newline": lambda user: (f"{token_for(user)}\n", BAD_FORM),
    "unknown key": unknown_key,
    "wrong secret": wrong_secret,
    "revoked": revoked_token,
    "expired": expired_token,
    "suspended": suspended_token,
    "deleted": deleted_token,
}


@each_route
@pytest.mark.parametrize("reason", MAKERS)
def test_a_token_that_does_not_hold_is_refused_with_the_reason(route, reason, cast):
    token, detail = MAKERS[reason](cast.alice)
    path = route.path_with(chat="not-a-uuid", other="x")
    answer = call(Api(), route, path, headers={"Authorization": f"bearer {token}"})
    if reason == "newline":  # a header's value is trimmed
        assert answer.status != 401
        return
    assert answer.status == 401
    assert answer.body == {"message": SIGNED_OUT, "detail": detail}


@each_chat_route
@pytest.mark.parametrize("who", ["bob", "carol"])
def test_a_chat_of_somebody_else_does_not_exist(route, who, chats, request):
    scene = route.scene(chats)
    before = rows()
    answer = call(request.getfixturevalue(who), route, scene.path)
    assert (answer.status, answer.body) == (404, NOT_FOUND)
    assert rows() == before


@each_chat_route
def test_an_unknown_chat_answers_as_one_of_somebody_else(route, alice):
    path = route.path_with(chat="a1a1a1a1-0000-4000-8000-000000000000", other="1")
    answer = call(alice, route, path)
    assert (answer.status, answer.body) == (404, NOT_FOUND)


@pytest.mark.parametrize("who", ["admin", "root"])
@pytest.mark.parametrize("route", [route for route in CHAT_ROUTES if not route.owner_only], ids=str)
def test_administrators_may_what_is_not_for_the_owner_alone(route, who, chats, request):
    scene = route.scene(chats)
    assert call(request.getfixturevalue(who), route, scene.path).status == route.status


@pytest.mark.parametrize("who", ["admin", "root"])
@each_owner_only
def test_administrators_are_told_that_only_the_owner_may(route, who, chats, request):
    scene = route.scene(chats)
    before = rows()
    answer = call(request.getfixturevalue(who), route, scene.path)
    assert (answer.status, answer.body) == (
        403,
        {"message": f"Only the chat owner may {route.owner_only}."},
    )
    assert rows() == before


@each_owner_only
def test_the_owner_check_comes_before_the_body_is_read(route, chats, admin):
    answer = admin.call(route.method, route.scene(chats).path, raw=b"{nonsense")
    assert answer.status == 403


@each_chat_route
def test_without_agents_access_ones_own_chats_do_not_exist(route, chats, alice, without_access):
    scene = route.scene(chats)
    without_access()
    answer = call(alice, route, scene.path)
    assert (answer.status, answer.body) == (404, NOT_FOUND)


def test_without_agents_access_nothing_is_listed_and_nothing_created(chats, alice, without_access):
    chats.pending()
    assert len(alice.get("/chats").body) == 1
    without_access()
    assert alice.get("/chats").body == []
    before = rows()
    answer = alice.post(
        "/chats",
        {"organization_id": str(chats.organization.pk), "content": [{"type": "nonsense"}]},
    )
    assert (answer.status, answer.message) == (403, "Forbidden.")
    assert answer.detail
    assert rows() == before


@each_route
@pytest.mark.parametrize("method", ["PUT", "TRACE", "OPTIONS", "PROPFIND"])
def test_a_wrong_method_is_a_405_in_json(route, method, chats, caller):
    if method in {each.method for each in ROUTES if each.path == route.path}:
        method = "PATCH"
    answer = caller.call(method, route.scene(chats).path)
    assert (answer.status, answer.body) == (405, {"message": "Method not allowed."})
    assert route.method in answer.headers["Allow"]


@each_route
def test_a_wrong_method_of_nobody_is_still_a_401(route, db):
    path = route.path_with(chat="x", other="x")
    assert Api().call("PUT", path).status == 401


@pytest.mark.parametrize("route", [route for route in ROUTES if route.reads], ids=str)
def test_head_answers_like_get_without_a_body(route, chats, caller):
    answer = caller.call("HEAD", route.url(route.scene(chats).path))
    assert (answer.status, answer.raw) == (route.status, b"")


@each_route
@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense"])
def test_every_answer_is_json_whatever_is_accepted(route, accept, chats, caller):
    scene = route.scene(chats)
    nobody = call(Api(), route, scene.path, headers={"Accept": accept})
    assert nobody.status == 401
    assert call(caller, route, scene.path, headers={"Accept": accept}).status == route.status


@each_route
def test_a_format_parameter_means_nothing(route, chats, caller):
    """But where parameters that are not known are refused."""
    status = 400 if route in COSTS else route.status
    assert call(caller, route, f"{route.scene(chats).path}?format=xml").status == status


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/chats/x/nothing",
        "/chats/x/title/nothing",
        "/chats/x/messages/1/2",
        "/chats/usage-limits/nothing",
        "/chats/usage-limits/overrides",
        "/chats/usage-limits/group-overrides/x/y",
        "/chats/config",
        "/chats/config/nothing",
        "/chats/config/messages",
        "/chats/config/model-override",
        "/chats/config/advisor/x",
        "/api/",
        "/api/v2/nothing",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
def test_an_unknown_route_is_a_404_for_everybody(path, method, alice):
    for api in (alice, Api()):
        answer = api.call(method, path, {})
        assert (answer.status, answer.body) == (404, {"message": "Route not found."})


# Where the token may stand


def _in(place: str, token: str, client: Client) -> dict:
    if place == "cookie":
        client.cookies["coder_session_token"] = token
    return {
        "header": {"headers": {HEADER: token}},
        "bearer": {"headers": {"Authorization": f"bEaReR {token}"}},
    }.get(place, {})


PLACES = ["cookie", "query", "header", "bearer", "access_query"]
QUERY_NAMES = {"query": "coder_session_token", "access_query": "access_token"}


def call_with(tokens: dict[str, str]):
    """GET /users/me with a token in each named place."""
    client = Client(enforce_csrf_checks=True)
    headers: dict[str, str] = {}
    for place, token in tokens.items():
        headers |= _in(place, token, client).get("headers", {})
    query = "&".join(
        f"{QUERY_NAMES[place]}={token}" for place, token in tokens.items() if place in QUERY_NAMES
    )
    return Api(browser=client).get(f"/api/v2/users/me?{query}", headers=headers)


@pytest.mark.parametrize("place", PLACES)
def test_a_token_is_taken_from_every_place(place, cast):
    assert call_with({place: token_for(cast.alice)}).body["username"] == "alice"


@pytest.mark.parametrize("first", PLACES)
def test_the_first_place_wins(first, cast: Cast):
    mine, other = token_for(cast.alice), token_for(cast.bob)
    later = PLACES[PLACES.index(first) :]
    answer = call_with({place: mine if place == first else other for place in later})
    assert answer.body["username"] == "alice"


@pytest.mark.parametrize("first", PLACES[:-1])
def test_a_bad_token_in_the_first_place_is_not_rescued_by_a_later_one(first, cast: Cast):
    later = PLACES[PLACES.index(first) + 1 :]
    good = token_for(cast.alice)
    answer = call_with({first: "nonsense", **dict.fromkeys(later, good)})
    assert (answer.status, answer.detail) == (401, BAD_FORM)


def test_an_empty_place_counts_as_absent(cast: Cast):
    good = token_for(cast.alice)
    empty = dict.fromkeys(PLACES[:-1], "")
    assert call_with({**empty, "access_query": good}).status == 200


@pytest.mark.parametrize("value", ["Basic abc", "Bearer", "Bearer ", "nonsense"])
def test_an_authorization_header_without_a_bearer_token_counts_as_absent(value, db):
    answer = Api().get("/chats", headers={"Authorization": value})
    assert (answer.status, answer.detail[:6]) == (401, "Cookie")


def test_a_person_signed_in_to_the_pages_may_read(cast: Cast, chats: Chats):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice)
    chats.pending()
    assert len(Api(browser=browser).get("/chats").body) == 1


def test_a_token_counts_more_than_the_session_of_the_pages(cast: Cast):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice)
    answer = Api(token_for(cast.bob), browser=browser).get("/api/v2/users/me")
    assert answer.body["username"] == "bob"


def test_the_session_of_a_suspended_person_is_worth_nothing(cast: Cast):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice)
    suspended_token(cast.alice)
    assert Api(browser=browser).get("/chats").status == 401


def test_a_dormant_person_may_act(cast: Cast):
    api = api_of(cast.alice)
    User.objects.filter(pk=cast.alice.pk).update(status=UserStatus.DORMANT)
    assert api.get("/chats").status == 200
