"""Secrets of an installation that was given none."""

import stat
import threading
from base64 import b64decode
from dataclasses import replace

import pytest

from chatd.core.crypto import KeyRing
from config import secrets as installation
from config.env import Environment, EnvironmentError_, read_environment
from config.secrets import load_secrets


@pytest.fixture
def env(tmp_path) -> Environment:
    return read_environment({"CHATD_DATA": str(tmp_path / "deep" / "data")})


def test_secrets_are_made_once_and_kept(env):
    first, second = load_secrets(env), load_secrets(env)
    assert first == second
    assert len(first.secret_key) >= 50
    assert [len(b64decode(key)) for key in first.encryption_keys] == [32]
    KeyRing.from_texts(first.encryption_keys)


def test_only_the_owner_may_read_the_file_and_no_draft_is_left(env):
    load_secrets(env)
    (file,) = env.data_dir.iterdir()
    assert file.name == "secrets.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_two_first_starts_end_with_the_same_secrets(env, monkeypatch):
    both = threading.Barrier(2)
    real = installation._create

    def create(path) -> None:
        both.wait(10)
        real(path)

    monkeypatch.setattr(installation, "_create", create)
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_secrets(env))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 2
    assert found[0] == found[1]
    assert [file.name for file in env.data_dir.iterdir()] == ["secrets.json"]


def test_what_was_given_is_used_and_nothing_is_written(env):
    given = replace(env, secret_key="given", encryption_keys=("a", "b"))
    loaded = load_secrets(given)
    assert (loaded.secret_key, loaded.encryption_keys) == ("given", ("a", "b"))
    assert not env.data_dir.exists()


def test_only_what_is_missing_is_made(env):
    loaded = load_secrets(replace(env, secret_key="given"))
    assert loaded.secret_key == "given"
    assert loaded.encryption_keys == load_secrets(env).encryption_keys


def test_secrets_are_not_shown(env):
    loaded = load_secrets(env)
    assert loaded.secret_key not in repr(loaded)
    assert loaded.encryption_keys[0] not in repr(loaded)


@pytest.mark.parametrize("text", [",", " , "])
def test_a_list_of_keys_that_is_given_but_empty_is_an_empty_ring(tmp_path, text):
    given = {"CHATD_DATA": str(tmp_path / "data"), "CHATD_ENCRYPTION_KEYS": text}
    assert load_secrets(read_environment(given)).encryption_keys == ()


def test_an_empty_file_of_keys_is_an_empty_ring_and_no_reason_to_make_one(tmp_path):
    file = tmp_path / "keys"
    file.write_text("\n")
    given = {"CHATD_DATA": str(tmp_path / "data"), "CHATD_ENCRYPTION_KEYS_FILE": str(file)}
    assert load_secrets(read_environment(given)).encryption_keys == ()


def test_a_blank_list_of_keys_is_none(env):
    blank = read_environment({"CHATD_DATA": str(env.data_dir), "CHATD_ENCRYPTION_KEYS": " "})
    assert load_secrets(blank) == load_secrets(env)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"secret_key": "secret"}', "\udcff"])
def test_a_damaged_file_is_named_and_not_shown(env, text):
    env.data_dir.mkdir(parents=True)
    file = env.data_dir / "secrets.json"
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(EnvironmentError_) as caught:
        load_secrets(env)
    assert str(file) in str(caught.value)
    assert "CHATD_ENCRYPTION_KEYS" in str(caught.value)


def test_the_environment_shows_no_secret_of_it(env):
    names = ["DATABASE_URL", "REDIS_URL"]
    names += ["CHATD_SECRET_KEY", "CHATD_ENCRYPTION_KEYS", "CHATD_ADMIN_PASSWORD"]
    read = read_environment({name: f"value-of-{name}" for name in names})
    assert read.encryption_keys == ("value-of-CHATD_ENCRYPTION_KEYS",)
    assert "value-of" not in repr(read)


def test_a_file_of_keys_that_is_no_text_is_named_and_not_shown(tmp_path):
    file = tmp_path / "keys"
    file.write_bytes(b"\xff\xfe raw key")
    with pytest.raises(EnvironmentError_, match="CHATD_ENCRYPTION_KEYS_FILE must hold text"):
        read_environment({"CHATD_ENCRYPTION_KEYS_FILE": str(file)})
