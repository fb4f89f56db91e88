"""Reading the environment: typed values, sentences for bad ones, files for secrets."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from config.env import Environment, EnvironmentError_, read_environment


def test_an_empty_environment_is_a_working_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = read_environment({})
    assert env.data_dir == tmp_path / ".chatd"
    assert env.sqlite_path == tmp_path / ".chatd" / "chatd.sqlite3"
    assert env.embedded
    assert env.debug is False
    assert env.log_level == "INFO"


def test_values_are_read_with_their_types():
    env = read_environment(
        {
            "CHATD_DEBUG": "YES",
            "CHATD_ALLOWED_HOSTS": " a.example , ,b.example",
            "CHATD_TURN_SLOTS": "7",
            "CHATD_HEAL_SECONDS": "0.5",
            "REDIS_URL": "redis://x",
            "CHATD_LOG_LEVEL": "debug",
            "CHATD_DATA": "~/chatd",
        }
    )
    assert env.debug is True
    assert env.allowed_hosts == ("a.example", "b.example")
    assert (env.turn_slots, env.heal_seconds) == (7, 0.5)
    assert not env.embedded
    assert env.log_level == "DEBUG"
    assert env.data_dir == Path.home() / "chatd"


def test_the_rates_are_those_of_the_contract_but_for_uploads():
    env = read_environment({})
    rates = (env.api_rate_limit, env.upload_rate_limit, env.sign_in_rate_limit)
    assert rates == (512, 240, 10)


def test_only_proxies_on_the_same_host_are_trusted_unless_others_are_named():
    assert read_environment({}).trusted_proxies == ("127.0.0.1", "::1")
    named = read_environment({"CHATD_TRUSTED_PROXIES": "10.0.0.0/8, 10.1.1.1"})
    assert named.trusted_proxies == ("10.0.0.0/8", "10.1.1.1")


def test_an_empty_value_is_the_default():
    assert read_environment({"CHATD_TURN_SLOTS": " ", "CHATD_DEBUG": ""}) == read_environment({})


@pytest.mark.parametrize(
    ("word", "value"), [("1", True), ("On", True), ("0", False), ("no", False)]
)
def test_flags_have_several_spellings(word, value):
    assert read_environment({"CHATD_SECURE_COOKIES": word}).secure_cookies is value


BAD = [
    ("CHATD_DEBUG", "maybe", "must be true or false"),
    ("CHATD_SECURE_COOKIES", "2", "must be true or false"),
    ("CHATD_TURN_SLOTS", "many", "must be a number"),
    ("CHATD_TURN_SLOTS", "1.5", "must be a whole number"),
    ("CHATD_TURN_SLOTS", "0", "must be at least 1"),
    ("CHATD_DATABASE_THREADS", "-3", "must be at least 1"),
    ("CHATD_LEASE_SECONDS", "0.5", "must be at least 1"),
    ("CHATD_HEAL_SECONDS", "0", "must be at least 0.1"),
    ("CHATD_FLUSH_WINDOW_SECONDS", "-1", "must be at least 0"),
    ("CHATD_TOKEN_MAX_DAYS", "0", "must be at least 1"),
    ("CHATD_API_RATE_LIMIT", "-1", "must be at least 0"),
    ("CHATD_UPLOAD_RATE_LIMIT", "0.5", "must be a whole number"),
    ("CHATD_SIGN_IN_RATE_LIMIT", "few", "must be a number"),
]


@pytest.mark.parametrize(("name", "value", "reason"), BAD)
def test_a_bad_value_is_told_with_the_name_of_its_variable(name, value, reason):
    with pytest.raises(EnvironmentError_, match=f"^{name} {reason}"):
        read_environment({name: value})


@pytest.mark.parametrize("name", ["CHATD_SECRET_KEY", "CHATD_ADMIN_PASSWORD", "DATABASE_URL"])
def test_a_secret_may_stand_in_a_file(tmp_path, name):
    file = tmp_path / "secret"
    file.write_text("from the file\n", encoding="utf-8")
    env = read_environment({f"{name}_FILE": str(file), name: "from the environment"})
    field = name.removeprefix("CHATD_").lower()
    assert getattr(env, field) == "from the file"


def test_a_file_that_cannot_be_read_is_told_with_the_name_of_its_variable(tmp_path):
    with pytest.raises(EnvironmentError_, match=r"^CHATD_SECRET_KEY_FILE cannot be read"):
        read_environment({"CHATD_SECRET_KEY_FILE": str(tmp_path / "missing")})


def test_an_environment_cannot_be_changed():
    env = read_environment({})
    assert isinstance(env, Environment)
    with pytest.raises(AttributeError):
        env.debug = True
    assert replace(env, debug=True).debug
    assert len(fields(env)) > 20
