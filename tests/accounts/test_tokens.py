"""API tokens: their form, what is stored of them, when they work."""

import re
from datetime import timedelta
from hashlib import sha256
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from chatd.accounts.actions import create_token, purge_expired_tokens
from chatd.accounts.actor import Actor
from chatd.accounts.api_keys import end_key
from chatd.accounts.models import APIKey, UserStatus
from chatd.accounts.tokens import authenticate_token, generate_token
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode
from tests.conftest import Cast


def test_a_token_is_an_id_and_a_secret_of_letters_and_digits():
    texts = {generate_token().text for _ in range(50)}
    assert len(texts) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9]{10}-[A-Za-z0-9]{22}", text) for text in texts)


def test_a_fresh_token_shows_no_secret_in_its_repr():
    token = generate_token()
    assert token.secret not in repr(token)


def test_only_the_hash_of_the_secret_is_stored(cast: Cast):
    key, text = create_token(user=cast.alice)
    secret = text.split("-")[1]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_apikey")
        (row,) = cursor.fetchall()
    assert secret not in str(row)
    assert key.hashed_secret == sha256(secret.encode()).hexdigest()


def test_a_token_authenticates_its_user(cast: Cast):
    key, text = create_token(user=cast.alice, name="laptop")
    found = authenticate_token(text)
    assert (found, found.user) == (key, cast.alice)


def refusal(text: str) -> str:
    with pytest.raises(ChatdError) as caught:
        authenticate_token(text)
    assert caught.value.code is ErrorCode.UNAUTHENTICATED
    return caught.value.detail


def test_a_token_works_until_the_instant_it_expires(cast: Cast):
    key, text = create_token(user=cast.alice, lifetime=timedelta(hours=1))
    with time_machine.travel(key.expires_at - timedelta(microseconds=1), tick=False):
        assert authenticate_token(text)
    with time_machine.travel(key.expires_at, tick=False):
        assert refusal(text) == f"API key expired at {key.expires_at.isoformat()}."


def test_a_revoked_token_stops_at_once(cast: Cast):
    key, text = create_token(user=cast.alice)
    end_key(Actor(cast.alice), key)
    assert refusal(text) == "API key is invalid."


@pytest.mark.parametrize(
    "change", [{"status": UserStatus.SUSPENDED}, {"deleted": True}], ids=["suspended", "deleted"]
)
def test_the_token_of_somebody_who_may_not_act_stops_at_once(cast: Cast, change):
    _, text = create_token(user=cast.alice)
    for name, value in change.items():
        setattr(cast.alice, name, value)
    cast.alice.save()
    assert refusal(text) == "The account is suspended or deleted."


@pytest.mark.parametrize(
    "text",
    ["", "-", "a-b", f"{'a' * 10}{'b' * 22}", f"{'a' * 10}-{'b' * 21}", f"{'a' * 11}-{'b' * 22}"],
)
def test_a_text_of_another_form_is_no_token(db, text):
    assert refusal(text) == "Session token has an invalid format."


@pytest.mark.parametrize("extra", ["\n", " ", "\x00", "a"])
def test_nothing_may_stand_around_a_token(cast: Cast, extra):
    _, text = create_token(user=cast.alice)
    for changed in (text + extra, extra + text):
        assert refusal(changed) == "Session token has an invalid format."


def test_the_last_use_is_recorded_once_a_minute(cast: Cast):
    key, text = create_token(user=cast.alice)
    instant = now()
    seen = []
    for seconds in (0, 59, 60, 61, 120, 122):
        with time_machine.travel(instant + timedelta(seconds=seconds), tick=False):
            authenticate_token(text)
        seen.append((APIKey.objects.get(pk=key.pk).last_used - instant).total_seconds())
    assert seen == [0, 0, 0, 61, 61, 122]


def test_a_refused_token_records_no_use(cast: Cast):
    key, text = create_token(user=cast.alice)
    refusal(text[:-1] + ("a" if text[-1] != "a" else "b"))
    assert APIKey.objects.get(pk=key.pk).last_used is None


def test_a_name_is_taken_once_per_person_and_no_name_as_often_as_wanted(cast: Cast):
    create_token(user=cast.alice, name="laptop")
    create_token(user=cast.bob, name="laptop")
    for _ in range(2):
        create_token(user=cast.alice)
    with pytest.raises(ChatdError) as caught:
        create_token(user=cast.alice, name="laptop")
    assert caught.value.http_status == 409
    assert APIKey.objects.filter(user=cast.alice).count() == 3


@pytest.mark.parametrize("days", [0, -1, 365.1, 400])
def test_a_lifetime_out_of_range_is_refused(cast: Cast, days):
    with pytest.raises(ChatdError) as caught:
        create_token(user=cast.alice, lifetime=timedelta(days=days))
    assert (caught.value.http_status, caught.value.message) == (400, "Invalid token lifetime.")
    assert not APIKey.objects.exists()


def test_a_name_that_is_too_long_is_refused(cast: Cast):
    with pytest.raises(ChatdError) as caught:
        create_token(user=cast.alice, name="x" * 65)
    assert caught.value.http_status == 400
    create_token(user=cast.alice, name="x" * 64)


def test_tokens_that_expired_a_month_ago_are_purged(cast: Cast):
    for age in (29, 31):
        with time_machine.travel(now() - timedelta(days=age + 1), tick=False):
            create_token(user=cast.alice, name=str(age), lifetime=timedelta(days=1))
    create_token(user=cast.alice, name="live")
    assert purge_expired_tokens() == 1
    assert set(APIKey.objects.values_list("token_name", flat=True)) == {"29", "live"}


# The command


def run(*arguments: str) -> str:
    out, err = StringIO(), StringIO()
    call_command("token", *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def test_the_command_prints_the_token_and_nothing_else(cast: Cast):
    printed = run("ALICE", "--name", "script", "--days", "0.5")
    assert printed.endswith("\n")
    key = authenticate_token(printed.removesuffix("\n"))
    assert (key.user, key.token_name, key.lifetime_seconds) == (cast.alice, "script", 43_200)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nobody"], 'There is no user named "nobody".'),
        (["alice", "--days", "0"], "Invalid token lifetime."),
        (["alice", "--days", "9999"], "Invalid token lifetime."),
        (["alice", "--days", "nan"], "--days"),
        (["alice", "--days", "1e300"], "--days"),
        (["alice", "--name", "x" * 65], "name"),
    ],
)
def test_the_command_says_in_a_sentence_what_is_wrong(cast: Cast, arguments, text):
    with pytest.raises(CommandError, match=re.escape(text)):
        run(*arguments)
    assert not APIKey.objects.exists()


def test_the_command_has_no_token_for_somebody_who_is_gone(cast: Cast):
    cast.alice.deleted = True
    cast.alice.save()
    with pytest.raises(CommandError):
        run("alice")
