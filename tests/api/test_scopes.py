"""Tokens of limited scopes: what they open, and that nothing gets around them."""

from typing import Any

import pytest
from django.test import Client

from chatd.accounts.actions import create_token
from chatd.accounts.models import User
from chatd.chats.models import Chat
from tests.api.client import NOT_FOUND, Api, Chats, queue, text_part
from tests.conftest import Cast

USERS = "/api/v2/users"


def limited(user: User, *scopes: str) -> Api:
    return Api(create_token(user=user, scopes=scopes)[1])


CHAT_CALLS: list[tuple[str, str, Any, str]] = [
    ("GET", "", None, "read"),
    ("GET", "/messages", None, "read"),
    ("GET", "/acl", None, "read"),
    ("GET", "/stream", None, "read"),
    ("PATCH", "", {"labels": {}}, "update"),
    ("POST", "/messages", {"content": [text_part()]}, "update"),
    ("POST", "/interrupt", None, "update"),
    ("DELETE", "/queue/{queued}", None, "update"),
    ("PATCH", "/acl", {}, "share"),
]
KINDS = ["create", "read", "update", "delete", "share"]


@pytest.mark.parametrize("scope", [*KINDS, "*"])
@pytest.mark.parametrize("who", ["alice", "root"])
def test_a_token_of_one_scope_does_on_chats_what_it_says_and_no_more(
    chats: Chats, cast: Cast, who: str, scope: str
) -> None:
    api = limited(getattr(cast, who), f"chat:{scope}")
    for method, path, body, right in CHAT_CALLS:
        if path == "/messages" and method == "POST" and who == "root":
            continue  # the owner of the chat alone
        chat = chats.pending()
        path = path.replace("{queued}", str(queue(chat).pk))
        called = f"/chats/{chat.pk}{path}"
        answer = api.call(method, called) if body is None else api.call(method, called, body)
        # What may be done and not be read does not exist, as with roles.
        reads = scope in ("read", "*")
        if scope == "*" or scope == right:
            assert answer.status in (200, 204, 426) or (right == "share" and not reads)
        elif right == "share" and reads:
            assert answer.status == 403
        else:
            assert (answer.status, answer.body) == (404, NOT_FOUND), (method, path)


def test_a_list_is_empty_for_a_token_that_may_not_read(chats: Chats, cast: Cast) -> None:
    chats.pending()
    for user in (cast.alice, cast.root):
        assert limited(user, "chat:create", "user:*").get("/chats").body == []
    assert len(limited(cast.alice, "chat:read").get("/chats").body) == 1


@pytest.mark.parametrize("who", ["alice", "root"])
def test_creating_takes_its_scope(chats: Chats, cast: Cast, who: str) -> None:
    body = {"organization_id": str(cast.organization.pk), "content": [text_part()]}
    for scope in ("chat:read", "chat:update", "user:*"):
        answer = limited(getattr(cast, who), scope).post("/chats", body)
        assert (answer.status, answer.message) == (403, "Forbidden.")
    assert not Chat.objects.exists()
    assert limited(getattr(cast, who), "chat:create").post("/chats", body).status == 201


def test_a_share_is_read_with_the_scope_alone(chats: Chats, cast: Cast) -> None:
    chat = chats.pending()
    Chat.objects.filter(pk=chat.pk).update(user_acl={str(cast.carol.pk): {"permissions": ["read"]}})
    assert limited(cast.carol, "chat:read").get(f"/chats/{chat.pk}").status == 200
    assert limited(cast.carol, "chat:update").get(f"/chats/{chat.pk}").status == 404


@pytest.mark.parametrize("scopes", [[], ["all"], ["chat:read", "all"]])
def test_no_scope_and_all_are_everything(chats: Chats, cast: Cast, scopes: list[str]) -> None:
    api = limited(cast.root, *scopes)
    assert api.patch(f"/chats/{chats.pending().pk}", {"labels": {}}).status == 204
    assert api.get(USERS).status == 200
    assert api.get("/chats/config/debug-logging").status == 200


def test_who_one_is_can_be_asked_with_every_token(cast: Cast) -> None:
    api = limited(cast.alice, "chat:create")
    assert api.get(f"{USERS}/me").body["username"] == "alice"
    assert len(api.get(f"{USERS}/me/organizations").body) == 1


CALLS: list[tuple[str, str, Any, str]] = [
    ("GET", USERS, None, "user:read"),
    ("GET", f"{USERS}/bob", None, "user:read"),
    ("PUT", f"{USERS}/me/profile", {"username": "root"}, "user:update"),
    ("GET", f"{USERS}/me/keys/tokens", None, "user:personal"),
    ("POST", f"{USERS}/me/keys/tokens", {"scopes": ["{own}"]}, "user:personal"),
    ("GET", "/api/v2/organizations/default", None, "organization:read"),
    ("GET", "/chats/config/debug-logging", None, "deployment_config:read"),
]


@pytest.mark.parametrize(("method", "path", "body", "scope"), CALLS)
def test_what_is_beyond_chats_takes_its_scope(
    cast: Cast, method: str, path: str, body: Any, scope: str
) -> None:
    for held in (scope, f"{scope.split(':')[0]}:*"):
        own = {"scopes": [held]} if body and "scopes" in body else body
        api = limited(cast.root, held)
        answer = api.call(method, path) if own is None else api.call(method, path, own)
        assert answer.status < 300, (held, answer.body)
    api = limited(cast.root, "chat:*")
    answer = api.call(method, path) if body is None else api.call(method, path, body)
    assert answer.status in (403, 404)


def test_a_limited_token_makes_none_that_may_do_more(cast: Cast) -> None:
    api = limited(cast.root, "user:personal", "chat:read")
    tokens = f"{USERS}/me/keys/tokens"
    assert api.post(tokens, {}).status == 400
    for beyond in (["all"], ["chat:*"], ["chat:read", "chat:update"], ["user:*"]):
        assert api.post(tokens, {"scopes": beyond}).status == 403
    text = api.post(tokens, {"scopes": ["chat:read"]}).body["key"]
    assert Api(text).post(tokens, {"scopes": ["chat:read"]}).status == 403
    assert limited(cast.root, "chat:*").post(tokens, {"scopes": ["chat:read"]}).status == 403


def test_scopes_add_nothing_to_what_a_person_may_do(chats: Chats, cast: Cast) -> None:
    api = limited(cast.bob, "all")
    assert api.get(f"/chats/{chats.pending().pk}").status == 404
    assert api.get(USERS).status == 403
    assert limited(cast.bob, "user:*", "organization:*").get(USERS).status == 403


def test_the_session_of_the_pages_has_no_scopes(chats: Chats, cast: Cast) -> None:
    limited(cast.alice, "user:*").get(f"{USERS}/me")
    browser = Client()
    browser.force_login(cast.alice)
    assert Api(browser=browser).get(f"/chats/{chats.pending().pk}").status == 200
