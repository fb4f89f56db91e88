"""How often the API may be called: whom a limit holds for, and what is told."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from time_machine import Traveller

from chatd.api.models import StoredAnswer
from chatd.chats.models import Chat, ChatFile
from chatd.live import rates
from tests.api.client import API, SIGNED_OUT, Answer, Api, Chats, api_of, rows, text_part
from tests.api.test_files import upload
from tests.conftest import Cast

Configure = Callable[..., None]

ME = "/api/v2/users/me"
BYPASS = {"X-Coder-Bypass-Ratelimit": "true"}


@pytest.fixture(autouse=True)
def limited(configure: Configure, clock: Traveller) -> None:
    """Three calls and two uploads a minute; the clock stands."""
    configure(api_rate_limit=3, upload_rate_limit=2)


def rate_headers(answer: Answer) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.startswith("X-RateLimit") or name == "Retry-After"
    }


def statuses(api: Api, times: int, path: str = "/chats", method: str = "GET") -> list[int]:
    return [api.call(method, path).status for _ in range(times)]


def test_one_more_than_the_limit_is_refused_with_the_exact_answer(
    alice: Api, clock: Traveller
) -> None:
    reset = str(int(rates.time.time()) + 60)
    answers = [alice.get("/chats") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [rate_headers(answer) for answer in answers[:3]] == [
        {
            "X-RateLimit-Limit": "3",
            "X-RateLimit-Remaining": left,
            "X-RateLimit-Reset": reset,
        }
        for left in ("2", "1", "0")
    ]
    refused = answers[3]
    assert refused.body == {
        "message": "You've been rate limited for sending more than 3 requests in 1m0s."
    }
    assert rate_headers(refused) == {
        "X-RateLimit-Limit": "3",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": reset,
        "Retry-After": "61",
    }


def test_another_person_path_or_method_is_not_affected(alice: Api, bob: Api, chats: Chats) -> None:
    mine, other = (f"/chats/{chats.pending().pk}" for _ in range(2))
    assert statuses(alice, 4, mine)[-1] == 429
    assert bob.get("/chats").status == 200
    assert alice.get(other).status == 200
    assert alice.get(ME).status == 200
    assert alice.patch(mine, {}).status == 204
    assert alice.get(mine).status == 429


def test_all_tokens_of_a_person_count_together(cast: Cast) -> None:
    first, second = api_of(cast.alice), api_of(cast.alice)
    assert statuses(first, 2) + statuses(second, 2) == [200, 200, 200, 429]


def test_a_person_on_the_pages_counts_as_with_a_token(cast: Cast, alice: Api) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice)
    assert statuses(Api(browser=browser), 3) + statuses(alice, 1) == [200, 200, 200, 429]


def test_a_query_or_a_trailing_slash_is_no_other_path(alice: Api) -> None:
    paths = ["/chats?limit=1", "/chats/", "/chats?limit=2", "/chats/?limit=3"]
    assert [alice.get(path).status for path in paths] == [200, 200, 200, 429]


def test_after_the_time_that_was_told_one_may_call_again(alice: Api, clock: Traveller) -> None:
    wait = int([alice.get("/chats") for _ in range(4)][-1].headers["Retry-After"])
    clock.shift(wait - 2)
    assert alice.get("/chats").status == 429
    clock.shift(2)
    assert alice.get("/chats").status == 200


def test_what_is_refused_is_not_counted(alice: Api, clock: Traveller) -> None:
    statuses(alice, 50)
    clock.shift(120)
    assert statuses(alice, 4) == [200, 200, 200, 429]


def test_refused_calls_count_like_others(alice: Api, chats: Chats) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    answers = [alice.post(path, {"content": []}) for _ in range(4)]
    assert [answer.status for answer in answers] == [400, 400, 400, 429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "2"
    wrong = [alice.call("PUT", path) for _ in range(4)]
    assert [answer.status for answer in wrong] == [405, 405, 405, 429]


def test_nothing_of_a_refused_call_is_carried_out_and_its_body_not_read(
    alice: Api, chats: Chats
) -> None:
    path = f"/chats/{chats.pending().pk}/messages"
    body = {"content": [text_part("again")]}
    assert [alice.post(path, body).status for _ in range(3)] == [200] * 3
    before = rows()
    assert alice.post(path, body, headers={"Idempotency-Key": "k-1"}).status == 429
    assert alice.post(path, raw=b"{nonsense").status == 429
    assert rows() == before
    assert not StoredAnswer.objects.exists()


def test_a_replay_counts_like_a_request(alice: Api, chats: Chats) -> None:
    body = {"content": [text_part("once")], "organization_id": str(chats.organization.pk)}
    answers = [alice.post("/chats", body, headers={"Idempotency-Key": "k-1"}) for _ in range(4)]
    assert [answer.status for answer in answers] == [201, 201, 201, 429]
    assert "Idempotent-Replayed" in answers[2].headers
    assert answers[2].headers["X-RateLimit-Remaining"] == "0"
    assert Chat.objects.count() == 1


# Uploads


def test_uploads_have_a_limit_of_their_own(alice: Api, bob: Api, cast: Cast) -> None:
    answers = [upload(alice, cast) for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 201, 429]
    assert answers[2].message == (
        "You've been rate limited for sending more than 2 requests in 1m0s."
    )
    assert ChatFile.objects.count() == 2
    assert upload(bob, cast).status == 201
    assert statuses(alice, 4, "/chats/files/x") == [400, 400, 400, 429], "no upload"


def test_uploads_can_be_without_a_limit(alice: Api, cast: Cast, configure: Configure) -> None:
    configure(api_rate_limit=1, upload_rate_limit=0)
    answers = [upload(alice, cast) for _ in range(3)]
    assert [answer.status for answer in answers] == [201] * 3
    assert rate_headers(answers[0]) == {}


# Nobody


def test_who_is_not_known_is_limited_by_address_whatever_the_path(alice: Api) -> None:
    answers = [
        Api().get("/chats"),
        Api("nonsense").get(ME),
        Api(f"{'A' * 10}-{'b' * 22}").post("/chats/files"),
        Api().get("/chats"),
    ]
    assert [answer.status for answer in answers] == [401, 401, 401, 429]
    assert answers[0].message == SIGNED_OUT
    assert answers[0].headers["X-RateLimit-Remaining"] == "2"
    assert answers[3].message.startswith("You've been rate limited")
    assert answers[3].headers["Retry-After"] == "61"
    assert alice.get("/chats").status == 200, "the address of a known person does not count"


def test_another_address_is_not_affected(db: None) -> None:
    def ask(address: str) -> int:
        return Client(REMOTE_ADDR=address).get(f"{API}/chats").status_code

    assert [ask("192.0.2.1") for _ in range(4)] == [401, 401, 401, 429]
    assert ask("192.0.2.2") == 401
    assert [ask(f"2001:db8::{number}") for number in range(4)] == [401, 401, 401, 429]
    assert ask("2001:db8:0:1::") == 401


def test_a_failed_csrf_check_counts_for_the_address_and_not_for_the_person(
    cast: Cast, alice: Api
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(cast.alice)
    answers = [Api(browser=browser).post("/chats", {}, plain=True) for _ in range(3)]
    assert [answer.status for answer in answers] == [400] * 3
    assert answers[2].headers["X-RateLimit-Remaining"] == "0"
    assert Api(browser=browser).post("/chats", {}).status == 429
    assert alice.post("/chats", {}).status == 400


# Not limited


def test_site_owners_may_pass_by_the_limit(root: Api) -> None:
    answers = [root.get("/chats", headers=BYPASS) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert rate_headers(answers[0]) == {}
    assert statuses(root, 4) == [200, 200, 200, 429]
    assert root.get("/chats", headers={"X-Coder-Bypass-Ratelimit": "1"}).status == 200
    assert root.get("/chats", headers={"X-Coder-Bypass-Ratelimit": "no"}).status == 429


def test_nobody_else_may(alice: Api, admin: Api) -> None:
    for api in (alice, admin, Api()):
        answers = [api.get("/chats", headers=BYPASS) for _ in range(4)]
        assert answers[-1].status == 429


def test_a_limit_of_zero_is_none(alice: Api, configure: Configure) -> None:
    configure(api_rate_limit=0)
    for api in (alice, Api()):
        answers = [api.get("/chats") for _ in range(5)]
        assert 429 not in {answer.status for answer in answers}
        assert rate_headers(answers[0]) == {}


@pytest.mark.parametrize("path", ["/healthz", "/chats", "/api/nothing"])
def test_health_pages_and_unknown_routes_are_not_limited(cast: Cast, path: str) -> None:
    browser = Client()
    browser.force_login(cast.alice)
    answers = [browser.get(path) for _ in range(5)]
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert "X-RateLimit-Limit" not in answers[0]


# Redis


@pytest.mark.redis
def test_calls_are_counted_in_redis_where_there_is_one(
    alice: Api, configure: Configure, redis_url: str
) -> None:
    configure(api_rate_limit=3, redis_url=redis_url)
    assert statuses(alice, 2) == [200] * 2
    rates.rate_counter.cache_clear()  # another process
    assert statuses(alice, 2) == [200, 429]


def test_with_redis_gone_every_call_is_served(
    alice: Api, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    quiet = type("Log", (), {"warning": lambda self, event, **_: told.append(event)})
    monkeypatch.setattr(rates, "log", quiet())
    configure(api_rate_limit=3, redis_url="redis://127.0.0.1:9/0")
    answers = [alice.get("/chats") for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 6
    assert rate_headers(answers[0]) == {}
    assert told == ["requests are not limited, Redis does not answer"]
