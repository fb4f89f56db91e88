"""People, their passwords and their tokens, by the API, the administration and one's own pages."""

import re
from typing import Any

from tests.e2e.leaks.evidence import Secrets
from tests.e2e.leaks.visitor import Visitor
from tests.support.product import ADMIN_PASSWORD

V2, PEOPLE = "/api/v2", "/admin/accounts/user/"

_SHOWN = r'id="{}"[^>]*value="([^"]+)"'


def sign_in_to_pages(root: Visitor, secrets: Secrets) -> None:
    wrong = secrets.plant("wrong password")
    root.submit("/login", {"username": "admin", "password": wrong, "next": "/admin/"})
    signed = root.submit("/login", {"username": "admin", "password": ADMIN_PASSWORD})
    assert "sessionid" in root.session.cookies, signed.text


def bring_somebody_in(root: Visitor, secrets: Secrets) -> Visitor:
    """Make a person by the API, who signs in to the API and to the pages."""
    old, wrong = secrets.plant("password"), secrets.plant("wrong password")
    person = {"username": "pia", "email": "pia@x.example", "password": old}
    root.api("POST", f"{V2}/users", person)
    root.api("POST", f"{V2}/users", {**person, "email": 5})
    login = {"email": "pia@x.example", "password": wrong}
    root.api("POST", f"{V2}/users/login", login)
    root.api("POST", f"{V2}/users/login", {**login, "email": wrong})
    pia = Visitor("pia", root.web)
    login["password"] = old
    pia.token = pia.api("POST", f"{V2}/users/login", login, keep=False)["session_token"]
    secrets.keep("token of a sign-in", secret_of(pia.token))
    new = secrets.plant("new password")
    for given in (wrong, old):
        pia.api("PUT", f"{V2}/users/me/password", {"old_password": given, "password": new})
    login["password"] = new
    pia.token = pia.api("POST", f"{V2}/users/login", login, keep=False)["session_token"]
    secrets.keep("token of a sign-in", secret_of(pia.token))
    pia.submit("/login", {"username": "pia", "password": new})
    assert "sessionid" in pia.session.cookies
    _make_tokens(pia, secrets)
    return pia


def _make_tokens(person: Visitor, secrets: Secrets) -> None:
    """Make tokens, one of them by a request that is sent twice, and look at them."""
    tokens = f"{V2}/users/me/keys/tokens"
    for name, headers in (("ci", {}), ("twice", {"Idempotency-Key": "1"})):
        asked: dict[str, Any] = {"token_name": name}
        key = person.api("POST", tokens, asked, keep=False, **headers)["key"]
        if headers:
            assert person.api("POST", tokens, asked, keep=False, **headers)["key"] == key
        secrets.keep("token of the API", secret_of(key))
        person.api("POST", tokens, asked)  # the name is taken
    person.api("GET", tokens)
    here, form = "/settings/tokens", {"token_name": "page", "reach": "everything", "lifetime": "9"}
    shown = _shown(person.submit(here, form, keep=False).text, "new-token")
    secrets.keep("token of the settings", secret_of(shown))
    person.submit(here, form)
    person.crawl(here)
    person.submit(f"{here}/{shown.partition('-')[0]}/revoke", {})


def secret_of(token: str) -> str:
    """Return the part of a token that nobody may know; the other is its id."""
    return token.split("-", 1)[1]


def _shown(page: str, element: str) -> str:
    found = re.search(_SHOWN.format(element), page)
    assert found is not None, page
    return found[1]


def administer_people(root: Visitor, secrets: Secrets) -> None:
    """Make people and change their passwords in the administration, typed and made there."""
    made, given = "password made in the administration", "password given in the administration"
    add = f"{PEOPLE}add/"
    refused = {"how": "typed", "password": secrets.plant("refused password")}
    for name, how in (("quinn", {"how": "generated"}), ("rana", {"how": "typed"})):
        form = {"username": name, "email": f"{name}@x.example", "login_type": "password"}
        root.submit(add, {**form, **refused, "username": "not a name"})
        if how["how"] == "typed":
            root.submit(add, {**form, **how, "password": secrets.plant(given)})
        else:
            page = root.submit(add, {**form, **how}, keep=False).text
            secrets.keep(made, _shown(page, "shown-password"))
        (person,) = root.api("GET", f"{V2}/users?q={name}")["users"]
        here = f"{PEOPLE}{person['id']}/password/"
        root.submit(here, {"how": "typed", "password": "short"})
        root.submit(here, {"how": "typed", "password": secrets.plant(given)})
        page = root.submit(here, {"how": "generated"}, keep=False).text
        secrets.keep(made, _shown(page, "shown-password"))
    own = f"{PEOPLE}{root.api('GET', f'{V2}/users/me')['id']}/password/"
    root.submit(own, {**refused, "old_password": secrets.plant("wrong password")})


def export_the_audit_log(root: Visitor) -> str:
    """Return the whole log as CSV."""
    log = "/admin/audit/auditentry/"
    box = re.search(r'<input[^>]*name="_selected_action"[^>]*>', root.get(log).text)
    assert box is not None
    value = re.search(r'value="([^"]+)"', box[0])
    assert value is not None
    chosen = {"_selected_action": value[1], "select_across": "1", "index": "0"}
    answer = root.submit(log, {"action": "export_csv", **chosen})
    assert answer.headers["Content-Type"].startswith("text/csv")
    return answer.text
