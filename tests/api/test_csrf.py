"""When an unsafe request must prove that a browser meant it."""

import pytest
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client

from chatd.chats.models import Chat
from tests.api.client import HEADER, Api, Chats
from tests.api.routes import CREATE, WRITES, Route
from tests.conftest import Cast
from tests.support.people import token_for

UNSAFE = [CREATE, *WRITES]
each_unsafe = pytest.mark.parametrize("route", UNSAFE, ids=str)


class Browser:
    """A browser with cookies, which sends what it is told beside them."""

    def __init__(self, **cookies: str) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.csrf = _get_new_csrf_string()
        for name, value in cookies.items():
            self.client.cookies[name] = value
        self.client.cookies["csrftoken"] = self.csrf

    def call(self, route: Route, path: str, **options):
        api = Api(browser=self.client)
        if route.body is None:
            return api.call(route.method, path, **options)
        return api.call(route.method, path, route.body, **options)

    def refused(self, route: Route, path: str, **options) -> None:
        answer = self.call(route, path, plain=True, **options)
        assert answer.status == 400
        assert b"CSRF" in answer.raw


@pytest.fixture
def by_cookie(cast: Cast) -> Browser:
    return Browser(coder_session_token=token_for(cast.alice))


@pytest.fixture
def signed_in(cast: Cast) -> Browser:
    """alice, signed in to the pages."""
    browser = Browser()
    browser.client.force_login(cast.alice)
    return browser


@each_unsafe
def test_a_cookie_alone_is_refused_in_plain_text(route, chats: Chats, by_cookie):
    scene = route.scene(chats)
    before = Chat.objects.count()
    by_cookie.refused(route, scene.path)
    by_cookie.refused(route, scene.path, headers={"X-CSRF-TOKEN": "wrong"})
    by_cookie.refused(route, scene.path, headers={"X-CSRF-TOKEN": "x" * 32})
    assert Chat.objects.count() == before


@each_unsafe
def test_a_cookie_with_the_csrf_token_is_accepted(route, chats: Chats, by_cookie):
    path = route.scene(chats).path
    answer = by_cookie.call(route, path, headers={"X-CSRF-TOKEN": by_cookie.csrf})
    assert answer.status == route.status


@each_unsafe
def test_the_session_of_the_pages_is_checked_too(route, chats: Chats, signed_in):
    path = route.scene(chats).path
    signed_in.refused(route, path)
    answer = signed_in.call(route, path, headers={"X-CSRF-TOKEN": signed_in.csrf})
    assert answer.status == route.status


@each_unsafe
@pytest.mark.parametrize(
    "make", [lambda token: {HEADER: token}, lambda token: {"Authorization": f"Bearer {token}"}]
)
def test_a_program_is_never_checked(route, make, cast, chats, signed_in):
    headers = make(token_for(cast.alice))
    path = route.scene(chats).path
    assert signed_in.call(route, path, headers=headers).status == route.status


def test_a_cookie_beside_the_same_token_is_not_checked(cast, model):
    token = token_for(cast.alice)
    browser = Browser(coder_session_token=token)
    for path, headers in (
        ("/chats", {HEADER: token}),
        (f"/chats?coder_session_token={token}", {}),
        ("/chats", {"Authorization": f"Bearer {token}"}),
    ):
        assert browser.call(CREATE, path, headers=headers).status == 201


def test_a_cookie_beside_another_token_is_checked(cast, model):
    browser = Browser(coder_session_token=token_for(cast.alice))
    other = token_for(cast.alice)
    browser.refused(CREATE, "/chats", headers={HEADER: other})
    browser.refused(CREATE, f"/chats?coder_session_token={other}")
    browser.refused(CREATE, f"/chats?access_token={other}")


def test_reading_is_never_checked(chats, by_cookie, signed_in):
    chats.pending()
    for browser in (by_cookie, signed_in):
        for method in ("GET", "HEAD"):
            assert Api(browser=browser.client).call(method, "/chats").status == 200


def test_a_bad_cookie_is_a_401_before_it_is_a_matter_of_csrf(cast):
    assert Browser(coder_session_token="x").call(CREATE, "/chats").status == 401


def test_a_foreign_origin_is_refused_with_the_token_too(chats, by_cookie):
    headers = {"X-CSRF-TOKEN": by_cookie.csrf, "Origin": "https://evil.example"}
    by_cookie.refused(CREATE, "/chats", headers=headers)


@pytest.mark.parametrize(
    ("content_type", "raw"),
    [
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense"),
        ("multipart/form-data", b"x"),
        ("application/x-www-form-urlencoded", b"a=1&" * 2000),
        ("application/x-www-form-urlencoded", b"x" * 5_000_000),
        ("application/x-www-form-urlencoded; charset=latin-1", b"x=1"),
    ],
)
def test_a_form_that_django_refuses_is_a_400(chats, signed_in, content_type, raw):
    headers = {"X-CSRF-TOKEN": signed_in.csrf}
    before = Chat.objects.count()
    answer = Api(browser=signed_in.client).post(
        "/chats", raw=raw, content_type=content_type, headers=headers
    )
    assert answer.status == 400
    assert Chat.objects.count() == before
