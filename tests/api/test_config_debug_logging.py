"""Whether the model calls of one's chats are recorded: the deployment, then the administrator,
then everybody for themselves."""

import dataclasses
from collections.abc import Callable

import pytest

from chatd.preferences import debug_logging
from chatd.preferences.registry import PERSONAL_DEBUG_LOGGING
from config.env import env
from tests.api.client import Api
from tests.conftest import Cast
from tests.support.settings import personal_texts, put_personal

SITE = "/chats/config/debug-logging"
OWN = "/chats/config/user-debug-logging"


@pytest.fixture
def force(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def switch() -> None:
        forced = dataclasses.replace(env, force_debug_logging=True)
        monkeypatch.setattr(debug_logging, "env", forced)

    return switch


def shown(api: Api) -> tuple[bool, bool, bool]:
    """Return whether calls are recorded, one may choose, it is forced."""
    answer = api.get(OWN)
    assert answer.status == 200
    return (
        answer.body.pop("debug_logging_enabled"),
        answer.body.pop("user_toggle_allowed"),
        answer.body.pop("forced_by_deployment"),
    )


def choose(api: Api, on: bool) -> int:
    return api.put(OWN, {"debug_logging_enabled": on}).status


def test_at_first_nothing_is_recorded_and_nobody_may_choose(alice: Api, cast: Cast) -> None:
    assert shown(alice) == (False, False, False)
    for raw in (b'{"debug_logging_enabled":true}', b"{nonsense"):
        answer = alice.put(OWN, raw=raw)
        assert (answer.status, answer.body) == (
            403,
            {"message": "An administrator has not enabled user-controlled chat debug logging."},
        )
    assert personal_texts(cast.alice) == {}


def test_where_it_is_allowed_everybody_chooses_for_themselves(alice, bob, root) -> None:
    root.put(SITE, {"allow_users": True})
    assert shown(alice) == (False, True, False)
    for _ in range(2):
        assert choose(alice, on=True) == 204
    assert shown(alice) == (True, True, False)
    assert shown(bob) == (False, True, False)
    assert choose(alice, on=False) == 204
    assert shown(alice) == (False, True, False)


def test_a_choice_that_is_not_allowed_any_more_is_kept_but_idle(alice, root) -> None:
    root.put(SITE, {"allow_users": True})
    choose(alice, on=True)
    root.put(SITE, {"allow_users": False})
    assert shown(alice) == (False, False, False)
    root.put(SITE, {"allow_users": True})
    assert shown(alice) == (True, True, False)


@pytest.mark.parametrize("allow", [True, False])
def test_a_deployment_that_records_everything_lets_nobody_choose(
    allow: bool, alice: Api, root: Api, cast: Cast, force
) -> None:
    root.put(SITE, {"allow_users": allow})
    force()
    assert shown(alice) == (True, False, True)
    assert root.get(SITE).body == {"allow_users": allow, "forced_by_deployment": True}
    for raw in (b'{"debug_logging_enabled":false}', b"{nonsense"):
        answer = alice.put(OWN, raw=raw)
        assert (answer.status, answer.body) == (
            409,
            {"message": "Chat debug logging is already forced on by deployment configuration."},
        )
    assert personal_texts(cast.alice) == {}
    assert root.put(SITE, {"allow_users": not allow}).status == 204


def test_an_absent_choice_is_off(alice: Api, root: Api) -> None:
    root.put(SITE, {"allow_users": True})
    for body in ({}, {"debug_logging_enabled": None}):
        choose(alice, on=True)
        assert alice.put(OWN, body).status == 204
        assert shown(alice) == (False, True, False)


@pytest.mark.parametrize("wrong", [1, "true", [], {}])
def test_a_choice_is_true_or_false(wrong, alice: Api, root: Api) -> None:
    root.put(SITE, {"allow_users": True})
    answer = alice.put(OWN, {"debug_logging_enabled": wrong})
    assert answer.message == "Request body must be valid JSON."


@pytest.mark.parametrize("text", ["TRUE", "1", "yes", ""])
def test_a_stored_choice_that_is_not_true_is_off(text: str, alice, root, cast: Cast) -> None:
    root.put(SITE, {"allow_users": True})
    put_personal(cast.alice, PERSONAL_DEBUG_LOGGING, text)
    assert shown(alice) == (False, True, False)
