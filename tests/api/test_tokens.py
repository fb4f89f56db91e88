"""API tokens: made once, shown once, limited, listed, ended."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from chatd.accounts.actions import create_token
from chatd.accounts.models import APIKey
from chatd.accounts.policy import SCOPES
from chatd.api.models import StoredAnswer
from chatd.audit.models import AuditEntry
from chatd.core.clock import now
from config.env import env
from tests.api.client import NOT_FOUND, Answer, Api, api_of
from tests.conftest import Cast

TOKENS = "/api/v2/users/me/keys/tokens"
KEYS = "/api/v2/users/me/keys"
HOUR = 3_600_000_000_000
DAY = 24 * HOUR


def fields_of(answer: Answer) -> set[str]:
    return {entry["field"] for entry in answer.body["validations"]}


def test_a_token_is_made_and_works(alice: Api, cast: Cast) -> None:
    body = {"token_name": "laptop", "lifetime": HOUR, "scopes": ["chat:read", "chat:read"]}
    answer = alice.post(TOKENS, body)
    assert (answer.status, set(answer.body)) == (201, {"key"})
    key = APIKey.objects.get(token_name="laptop")
    assert (key.user, key.lifetime_seconds, key.scopes) == (cast.alice, 3600, ["chat:read"])
    assert Api(answer.body["key"]).get("/chats").status == 200


@pytest.mark.parametrize("body", [{}, {"lifetime": 0}, {"lifetime": None, "scopes": None}])
def test_without_a_lifetime_it_is_the_longest_and_without_scopes_everything(
    alice: Api, body: Any
) -> None:
    key = APIKey.objects.get(pk=alice.post(TOKENS, body).body["key"].split("-")[0])
    assert (key.lifetime_seconds, key.scopes) == (env.token_max_days * 86_400, [])


@pytest.mark.parametrize("lifetime", [-1, 1, 999, env.token_max_days * DAY + 1000, 2**63 - 1])
def test_a_lifetime_out_of_range_is_refused(alice: Api, lifetime: int) -> None:
    answer = alice.post(TOKENS, {"lifetime": lifetime})
    assert (answer.status, answer.message) == (400, "Invalid token lifetime.")
    assert APIKey.objects.count() == 1
    assert alice.post(TOKENS, {"lifetime": env.token_max_days * DAY}).status == 201


@pytest.mark.parametrize("lifetime", [2**63, 1.5, "1h", True, []])
def test_a_lifetime_is_a_64_bit_integer(alice: Api, lifetime: Any) -> None:
    answer = alice.post(TOKENS, {"lifetime": lifetime})
    assert (answer.status, answer.message) == (400, "Request body must be valid JSON.")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"token_name": "x" * 65}, {"token_name"}),
        ({"token_name": "a\x00"}, {"token_name"}),
        ({"scopes": ["nonsense"]}, {"scopes"}),
        ({"scopes": ["chat:read", ""]}, {"scopes"}),
    ],
)
def test_a_wrong_field_is_told(alice: Api, body: Any, wrong: set[str]) -> None:
    answer = alice.post(TOKENS, body)
    assert (answer.status, fields_of(answer)) == (400, wrong)


def test_every_scope_can_be_asked_for(alice: Api) -> None:
    assert alice.post(TOKENS, {"scopes": sorted(SCOPES)}).status == 201


def test_a_name_is_taken_once_per_person(alice: Api, bob: Api) -> None:
    answers = [api.post(TOKENS, {"token_name": "ci"}) for api in (alice, alice, bob)]
    assert [answer.status for answer in answers] == [201, 409, 201]
    assert fields_of(answers[1]) == {"token_name"}
    assert [alice.post(TOKENS, {}).status for _ in range(2)] == [201, 201]


def test_nobody_makes_tokens_for_somebody_else(root: Api, alice: Api, cast: Cast) -> None:
    assert root.post("/api/v2/users/alice/keys/tokens", {}).status == 403
    assert alice.post("/api/v2/users/bob/keys/tokens", {}).status == 404
    assert alice.post("/api/v2/users/alice/keys/tokens", {}).status == 201
    assert not APIKey.objects.filter(user=cast.bob).exists()


# Lists


def test_tokens_are_listed_with_every_field_and_no_secret(alice: Api, cast: Cast) -> None:
    APIKey.objects.all().delete()
    with time_machine.travel("2026-01-02T03:04:05Z", tick=False):
        key, text = create_token(
            user=cast.alice, name="ci", lifetime=timedelta(days=2), scopes=["chat:*"]
        )
    with time_machine.travel("2026-01-03T03:04:05Z", tick=False):
        answer = Api(text).get(TOKENS)
    assert answer.status == 404 or answer.status == 403
    with time_machine.travel("2026-01-03T03:04:05Z", tick=False):
        (shown,) = api_of(cast.root).get("/api/v2/users/alice/keys/tokens").body
    assert shown == {
        "id": key.pk,
        "user_id": str(cast.alice.pk),
        "token_name": "ci",
        "last_used": "2026-01-03T03:04:05Z",
        "expires_at": "2026-01-04T03:04:05Z",
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
        "login_type": "token",
        "scopes": ["chat:*"],
        "lifetime_seconds": 172_800,
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["live"]),
        ("?include_expired=", ["live"]),
        ("?include_expired=false", ["live"]),
        ("?include_expired=true", ["old", "live"]),
        ("?include_expired=1", ["old", "live"]),
    ],
)
def test_expired_tokens_are_listed_when_asked_for(cast: Cast, query: str, names: list[str]) -> None:
    with time_machine.travel(now() - timedelta(days=2), tick=False):
        create_token(user=cast.alice, name="old", lifetime=timedelta(days=1))
    create_token(user=cast.bob, name="other")
    _, text = create_token(user=cast.alice, name="live")
    assert [key["token_name"] for key in Api(text).get(TOKENS + query).body] == names


def test_a_flag_that_is_none_is_told(alice: Api) -> None:
    answer = alice.get(f"{TOKENS}?include_expired=maybe")
    assert (answer.status, fields_of(answer)) == (400, {"include_expired"})


# Ending


def test_an_ended_token_stops_at_once(alice: Api, cast: Cast) -> None:
    key, text = create_token(user=cast.alice)
    assert alice.delete(f"{KEYS}/{key.pk}").status == 204
    assert Api(text).get("/chats").status == 401
    assert alice.delete(f"{KEYS}/{key.pk}").status == 404


@pytest.mark.parametrize("key", ["nothing", "%00", "x" * 4000])
def test_an_unknown_token_is_a_404(alice: Api, key: str) -> None:
    assert alice.delete(f"{KEYS}/{key}").body == NOT_FOUND


def test_a_token_is_looked_for_with_its_person_alone(alice: Api, root: Api, cast: Cast) -> None:
    key, text = create_token(user=cast.bob)
    for api in (alice, root):
        assert api.delete(f"{KEYS}/{key.pk}").status == 404
    assert Api(text).get("/chats").status == 200
    assert root.delete(f"/api/v2/users/bob/keys/{key.pk}").status == 204


# Secrets


def test_the_audit_log_tells_of_tokens_without_their_secrets(alice: Api) -> None:
    text = alice.post(TOKENS, {"token_name": "ci", "scopes": ["chat:read"]}).body["key"]
    key_id, secret = text.split("-")
    alice.delete(f"{KEYS}/{key_id}")
    made, ended = AuditEntry.objects.order_by("id")
    assert [entry.resource_id for entry in (made, ended)] == [key_id, key_id]
    assert (made.action, made.resource_name, ended.action) == ("create", "ci", "delete")
    assert made.changes["scopes"] == {"old": None, "new": ["chat:read"]}
    assert secret not in str(list(AuditEntry.objects.values()))


def test_a_retry_gets_the_same_key_which_is_not_stored_in_plain(alice: Api) -> None:
    headers = {"Idempotency-Key": "once"}
    answers = [alice.post(TOKENS, {"token_name": "ci"}, headers=headers) for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert Api(answers[0].body["key"]).get("/chats").status == 200
    kept = bytes(StoredAnswer.objects.get().body)
    assert answers[0].body["key"].split("-")[1].encode() not in kept


def test_an_answer_whose_encryption_key_is_gone_is_told(alice: Api, settings: Any) -> None:
    headers = {"Idempotency-Key": "once"}
    assert alice.post(TOKENS, {}, headers=headers).status == 201
    settings.CHATD_ENCRYPTION_KEYS = ["A" * 43 + "="]
    answer = alice.post(TOKENS, {}, headers=headers)
    assert (answer.status, answer.message) == (409, "The answer cannot be read any more.")
