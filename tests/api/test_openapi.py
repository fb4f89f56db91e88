"""The OpenAPI document: it is the committed one, it is valid, and it has every route."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from drf_spectacular.validation import validate_schema

from chatd.api.documenting import operation_of
from chatd.api.openapi import PATH_PARAMETERS, document
from chatd.api.urls import urlpatterns
from chatd.api.views import ResourceViewSet
from chatd.core.clock import ZERO_TIME
from tests.api.client import JSON_TYPE, Api
from tests.api.documented import check_answer

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"

OPERATIONS = {
    (path, method): operation
    for path, item in document()["paths"].items()
    for method, operation in item.items()
}
PUBLIC = {("/api/openapi.json", "get"), ("/api/v2/users/login", "post")}


def test_the_committed_document_is_the_generated_one():
    assert json.loads(COMMITTED.read_text()) == document(), "`make openapi` writes it anew"


def test_the_document_is_valid_openapi():
    validate_schema(document())


def test_the_document_has_the_version_of_the_product():
    project = tomllib.loads((COMMITTED.parents[1] / "pyproject.toml").read_text())["project"]
    assert document()["info"]["version"] == project["version"]


def test_a_route_that_promises_nothing_stops_the_document():
    with pytest.raises(LookupError, match="has no Operation"):
        operation_of(ResourceViewSet.actor)


def test_every_route_and_method_is_documented_and_nothing_else():
    served = {
        ("/api/" + re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", route), method)
        for pattern in urlpatterns
        for method in getattr(pattern.callback, "actions", {})
        if method != "head"
        for route in [pattern.pattern.regex.pattern.removeprefix("^").removesuffix("/?$")]
    }
    assert {(path.replace(".", r"\."), method) for path, method in OPERATIONS} == served


def test_every_operation_has_a_name_of_its_own_and_a_summary():
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] for operation in OPERATIONS.values())


def test_every_parameter_of_a_path_that_is_described_exists():
    named = {name for path, _ in OPERATIONS for name in re.findall(r"{(\w+)}", path)}
    assert named == set(PATH_PARAMETERS)


@pytest.mark.parametrize("key", OPERATIONS, ids=str)
def test_every_operation_says_what_all_routes_may_answer(key):
    path, method = key
    operation = OPERATIONS[key]
    expected = {"400", "429", "500", "503"}
    if operation.get("security") != []:
        expected |= {"401"}
    if "{" in path:
        expected |= {"404"}
    if method != "get" and key not in PUBLIC:
        expected |= {"409"}
    assert expected <= set(operation["responses"])


@pytest.mark.parametrize("key", OPERATIONS, ids=str)
def test_every_write_and_no_read_takes_an_idempotency_key(key):
    references = [parameter.get("$ref") for parameter in OPERATIONS[key]["parameters"]]
    taken = "#/components/parameters/IdempotencyKey" in references
    assert taken == (key[1] != "get" and key not in PUBLIC)


def test_what_costs_money_and_nothing_else_may_be_refused_for_a_limit():
    reference = "#/components/responses/ConflictOrLimit"
    limited = {
        operation["operationId"]
        for operation in OPERATIONS.values()
        if operation["responses"].get("409", {}).get("$ref") == reference
    }
    assert limited == {
        "createChat",
        "sendMessage",
        "editMessage",
        "regenerateTitle",
        "proposeTitle",
    }
    body = {"message": "No.", "spent_micros": 2, "limit_micros": 1, "resets_at": ZERO_TIME}
    check_answer("POST", "/api/experimental/chats", 409, JSON_TYPE, body)
    check_answer("POST", "/api/experimental/chats", 409, JSON_TYPE, {"message": "No."})
    with pytest.raises(AssertionError):
        check_answer("POST", "/api/experimental/chats/x/interrupt", 409, JSON_TYPE, body)


def test_only_the_document_and_signing_in_are_public():
    public = {key for key, operation in OPERATIONS.items() if operation.get("security") == []}
    assert public == PUBLIC
    assert document()["security"]


def test_no_field_that_stays_inside_is_documented():
    shown = {
        name
        for schema in document()["components"]["schemas"].values()
        for name in schema.get("properties", {})
    }
    assert {"tool_call_id", "skill_name"} <= shown
    inside = {"provider_metadata", "skill_dir", "context_file_content", "api_key_id", "runner_id"}
    assert shown & inside == set()


ME = {
    "id": "0b0f8a4e-4c6f-4e0f-8d0a-6a3c1f7f9a01",
    "username": "alice",
    "email": "alice@example.com",
    "created_at": "2026-01-02T03:04:05.678900Z",
    "updated_at": "2026-01-02T03:04:05Z",
    "last_seen_at": "0001-01-01T00:00:00Z",
    "status": "active",
    "login_type": "password",
    "organization_ids": [],
    "roles": [{"name": "owner", "display_name": "Site owner"}],
}


@pytest.mark.parametrize("path", ["/api/v2/users/me", "/api/v2/users/alice/"])
def test_a_documented_answer_passes_the_check_of_all_answers(path):
    check_answer("GET", path, 200, JSON_TYPE, ME)
    check_answer("HEAD", path, 200, JSON_TYPE, None)
    check_answer("GET", path, 404, JSON_TYPE, {"message": "No.", "detail": "Never."})
    check_answer("PUT", path, 405, JSON_TYPE, {"message": "Method not allowed."})


@pytest.mark.parametrize(
    ("status", "media", "body"),
    [
        (201, JSON_TYPE, ME),
        (200, "text/html", None),
        (200, JSON_TYPE, {**ME, "secret": "x"}),
        (200, JSON_TYPE, {**ME, "id": "1"}),
        (200, JSON_TYPE, {**ME, "created_at": "yesterday"}),
        (200, JSON_TYPE, {**ME, "status": "unheard of"}),
        (200, JSON_TYPE, {**ME, "roles": [{"name": "owner"}]}),
        (404, JSON_TYPE, {"detail": "Never."}),
        (404, JSON_TYPE, {"message": "No.", "validations": [{}]}),
        (409, JSON_TYPE, {"message": "No."}),
    ],
)
def test_an_answer_that_is_not_documented_does_not_pass_it(status, media, body):
    with pytest.raises(AssertionError):
        check_answer("GET", "/api/v2/users/me", status, media, body)


def test_nobody_in_particular_may_read_the_document(db):
    answer = Api().get("/api/openapi.json")
    assert (answer.status, answer.body) == (200, document())


def test_a_token_that_does_not_hold_is_no_reason_to_hide_the_document(db):
    answer = Api("nonsense").get("/api/openapi.json")
    assert answer.status == 200
