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
    assert (env.turn_slots, env.turn_slots_per_person, env.heal_seconds) == (7, 3, 0.5)
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
    ("CHATD_REQUEST_SLOTS", "0", "must be at least 1"),
    ("CHATD_MAX_SOCKETS", "0", "must be at least 1"),
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


# Single sign-on

OIDC = {
    "CHATD_OIDC_ISSUER": "https://id.example/realms/all",
    "CHATD_OIDC_CLIENT_ID": "chatd",
    "CHATD_OIDC_CLIENT_SECRET": "a-secret-of-the-client",
}


def test_there_is_no_single_sign_on_unless_it_is_configured():
    assert read_environment({"CHATD_OIDC_ISSUER": " "}).single_sign_on is None


def test_three_variables_are_enough_for_single_sign_on():
    found = read_environment(OIDC).single_sign_on
    assert (found.issuer, found.client_id) == ("https://id.example/realms/all", "chatd")
    assert found.client_secret == "a-secret-of-the-client"
    assert found.label == "Single sign-on"
    assert found.scopes == ("openid", "profile", "email")
    claims = (found.email_claim, found.username_claim, found.name_claim, found.groups_claim)
    assert claims == ("email", "preferred_username", "name", "")
    assert (found.create_people, found.passwords) == (True, True)
    assert (found.create_groups, found.trust_emails) == (False, False)


def test_everything_of_single_sign_on_can_be_said():
    found = read_environment(
        OIDC
        | {
            "CHATD_OIDC_LABEL": "Example Inc.",
            "CHATD_OIDC_SCOPES": "openid, email groups",
            "CHATD_OIDC_EMAIL_DOMAINS": "Example.com, @example.org",
            "CHATD_OIDC_GROUPS_CLAIM": "realm_access.roles",
            "CHATD_OIDC_GROUPS": '{"CN=dev,DC=example": "developers"}',
            "CHATD_OIDC_ROLES": '{"chatd-admins": "owner"}',
            "CHATD_OIDC_CREATE_GROUPS": "yes",
            "CHATD_OIDC_CREATE_PEOPLE": "no",
            "CHATD_OIDC_TRUST_EMAILS": "on",
            "CHATD_OIDC_PASSWORDS": "off",
        }
    ).single_sign_on
    assert found.label == "Example Inc."
    assert found.scopes == ("openid", "email", "groups")
    assert found.email_domains == ("example.com", "example.org")
    assert found.groups == {"CN=dev,DC=example": "developers"}
    assert found.roles == {"chatd-admins": "owner"}
    assert (found.create_groups, found.create_people) == (True, False)
    assert (found.trust_emails, found.passwords) == (True, False)


def test_the_secret_of_the_client_may_stand_in_a_file_and_is_not_shown(tmp_path):
    file = tmp_path / "secret"
    file.write_text("from the file\n", encoding="utf-8")
    env = read_environment(OIDC | {"CHATD_OIDC_CLIENT_SECRET_FILE": str(file)})
    assert env.single_sign_on.client_secret == "from the file"
    assert "from the file" not in repr(env)


@pytest.mark.parametrize("missing", sorted(OIDC))
def test_half_a_configuration_of_single_sign_on_is_told(missing):
    with pytest.raises(EnvironmentError_, match=f"^{missing} is missing"):
        read_environment({**OIDC, missing: ""})


def test_an_option_of_single_sign_on_alone_is_told():
    with pytest.raises(EnvironmentError_, match=r"^CHATD_OIDC_ISSUER is missing"):
        read_environment({"CHATD_OIDC_LABEL": "Example"})


@pytest.mark.parametrize("host", ["localhost:9400", "127.0.0.1:9400", "[::1]:9400"])
def test_a_provider_on_this_host_may_be_without_https(host):
    issuer = f"http://{host}"
    assert read_environment(OIDC | {"CHATD_OIDC_ISSUER": issuer}).single_sign_on.issuer == issuer


CLAIM = {"CHATD_OIDC_GROUPS_CLAIM": "groups"}
BAD_OIDC = [
    ("CHATD_OIDC_ISSUER", "id.example", {}),
    ("CHATD_OIDC_ISSUER", "http://id.example", {}),
    ("CHATD_OIDC_ISSUER", "http://localhost.example", {}),
    ("CHATD_OIDC_ISSUER", "https://", {}),
    ("CHATD_OIDC_ISSUER", "https://[", {}),
    ("CHATD_OIDC_ISSUER", "https://id.example:port", {}),
    ("CHATD_OIDC_ISSUER", "https://user@id.example", {}),
    ("CHATD_OIDC_ISSUER", "https://id.example/?a=b", {}),
    ("CHATD_OIDC_ISSUER", "https://id.example/#a", {}),
    ("CHATD_OIDC_ISSUER", "https://id.example/" + "a" * 500, {}),
    ("CHATD_OIDC_SCOPES", "profile email", {}),
    ("CHATD_OIDC_GROUPS", "dev=developers", CLAIM),
    ("CHATD_OIDC_GROUPS", '["dev"]', CLAIM),
    ("CHATD_OIDC_GROUPS", '{"dev": 1}', CLAIM),
    ("CHATD_OIDC_GROUPS", '{"dev": ""}', CLAIM),
    ("CHATD_OIDC_GROUPS", '{"dev": "two words"}', CLAIM),
    ("CHATD_OIDC_GROUPS", '{"dev": "Everyone"}', CLAIM),
    ("CHATD_OIDC_GROUPS", '{"dev": "' + "a" * 37 + '"}', CLAIM),
    ("CHATD_OIDC_GROUPS", '{"dev": "developers"}', {}),
    ("CHATD_OIDC_ROLES", '{"dev": "god"}', CLAIM),
    ("CHATD_OIDC_ROLES", '{"dev": "owner"}', {}),
    ("CHATD_OIDC_CREATE_GROUPS", "yes", {}),
    ("CHATD_OIDC_CREATE_PEOPLE", "perhaps", {}),
]


@pytest.mark.parametrize(("name", "value", "beside"), BAD_OIDC)
def test_a_bad_value_of_single_sign_on_is_told_with_its_variable(name, value, beside):
    with pytest.raises(EnvironmentError_, match=f"^{name} "):
        read_environment({**OIDC, **beside, name: value})


def test_who_may_read_the_metrics_is_given_as_networks():
    env = read_environment({"CHATD_METRICS_ALLOWED": "10.0.0.7/8, ::1"})
    assert [str(each) for each in env.metrics_allowed] == ["10.0.0.0/8", "::1/128"]
    assert read_environment({}).metrics_allowed == ()
    with pytest.raises(EnvironmentError_, match=r"CHATD_METRICS_ALLOWED must list"):
        read_environment({"CHATD_METRICS_ALLOWED": "10.0.0.0/8, monitoring.example"})


def test_a_folder_for_metrics_must_be_there(tmp_path):
    given = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    assert read_environment(given).metrics_dir == str(tmp_path)
    with pytest.raises(EnvironmentError_, match=r"PROMETHEUS_MULTIPROC_DIR must be a folder"):
        read_environment({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "none")})
