"""What all pages of settings have in common."""

import re

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from chatd.accounts.actions import create_token
from chatd.accounts.models import User
from chatd.core.errors import Validation, bad_request
from chatd.providers.models import ModelConfig
from chatd.web.settings_pages.forms import Field, Form, refused
from chatd.web.settings_pages.frame import PLACES
from tests.web.conftest import browser_of

PAGES = [
    "/settings",
    "/settings/tokens",
    "/settings/keys",
    "/settings/chats",
    "/settings/spending",
    "/settings/tools",
]
each_page = pytest.mark.parametrize("path", PAGES)


def html_of(response: HttpResponse, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[:2000]
    return response.content.decode()


def test_every_page_is_on_the_way_between_them() -> None:
    assert [reverse(place.route) for place in PLACES] == PAGES


@each_page
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_anonymous_visitor_is_sent_to_sign_in(path: str, method: str) -> None:
    response = getattr(Client(), method)(path)
    assert (response.status_code, response["Location"]) == (302, f"/login?next={path}")


@each_page
def test_a_form_without_its_csrf_token_is_refused(alice: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert "The form has expired" in html_of(client.post(path, {"form": "x"}), 403)


@each_page
def test_other_methods_are_not_allowed(page: Client, path: str) -> None:
    assert page.put(path).status_code == 405
    assert page.head(path).status_code == 200


@pytest.mark.parametrize("path", [path for path in PAGES if path != "/settings/tokens"])
@pytest.mark.parametrize("name", ["", "nonsense", ":", "key", "compaction:1"])
def test_a_form_that_is_not_known_is_refused_with_a_page(
    page: Client, model: ModelConfig, path: str, name: str
) -> None:
    assert page.post(path, {"form": name}).status_code in (400, 404)


@each_page
def test_the_page_says_where_one_is_and_every_page_leads_there(
    page: Client, model: ModelConfig, path: str
) -> None:
    html = html_of(page.get(path))
    assert html.count('aria-current="page"') == 1
    assert f'href="{path}" aria-current="page"' in html
    assert 'href="/settings">Settings</a>' in html_of(page.get("/chats"))


@each_page
def test_every_control_has_a_label_and_every_description_exists(
    alice: User, model: ModelConfig, path: str
) -> None:
    create_token(user=alice, name="laptop")
    html = html_of(browser_of(alice).get(path))
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for tag in re.findall(r"<(?:input|select|textarea)\b[^>]*>", html):
        if 'type="hidden"' in tag or 'type="radio"' in tag or 'name="scopes"' in tag:
            continue  # hidden, or inside of its label
        (own,) = re.findall(r'\bid="([^"]+)"', tag)
        assert f'<label for="{own}"' in html or f'class="choice" for="{own}"' in html
    described = re.findall(r'aria-(?:describedby|labelledby)="([^"]+)"', html)
    assert {each for found in described for each in found.split()} <= set(ids)


# forms as data


def form(**about: object) -> Form:
    fields = [
        Field(name="a", label="First", values=["old"]),
        Field(name="b", label="Second", kind="password", values=["old"]),
    ]
    return Form(name="x", submit="Save", fields=fields, **about)


class Posted(dict):
    def getlist(self, name: str) -> list[str]:
        return self.get(name, [])


POSTED = Posted(a=["typed"], b=["secret"])


def test_a_refused_form_keeps_what_was_typed_except_secrets() -> None:
    shown = refused(form(), POSTED, bad_request("No."))
    assert [each.value for each in shown.fields] == ["typed", ""]
    assert "secret" not in repr(shown)
    assert shown.general is not None


def test_reasons_stand_beside_their_fields_as_sentences_about_the_label() -> None:
    wrong = [Validation("a", "raw", "must be short."), Validation("b", "It is weak.")]
    shown = refused(form(), POSTED, bad_request("No.", validations=wrong))
    assert [list(each.errors) for each in shown.fields] == [
        ["First must be short."],
        ["It is weak."],
    ]
    assert shown.general is None


def test_reasons_without_a_field_go_to_the_one_that_is_to_blame_or_above_all() -> None:
    refusal = bad_request("No.", detail="Why.")
    shown = refused(form(), POSTED, refusal, blamed="a")
    assert (list(shown.fields[0].errors), shown.general) == (["No. Why."], None)
    foreign = bad_request("No.", validations=[Validation("elsewhere", "x")])
    assert refused(form(), POSTED, foreign).general is foreign
