"""The key ring: rotation, refusals, and that nothing shows a secret."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.core.checks import encryption_keys_are_usable
from chatd.core.crypto import KeyRing, KeyRingError, UndecryptableError

OLD, NEW, OTHER = (bytes([number]) * 32 for number in range(3))


def text_of(key: bytes) -> str:
    return b64encode(key).decode()


@given(st.text())
def test_what_was_encrypted_comes_back(plain):
    ring = KeyRing([OLD])
    assert ring.decrypt(ring.encrypt(plain)) == plain


def test_the_first_key_writes_and_every_key_reads():
    stored = KeyRing([OLD]).encrypt("secret")
    rotated = KeyRing([NEW, OLD])
    assert rotated.decrypt(stored) == "secret"
    fresh = rotated.encrypt("secret")
    assert fresh.split(":")[1] == rotated.primary_id == KeyRing([NEW]).primary_id
    assert KeyRing([NEW]).decrypt(fresh) == "secret"
    with pytest.raises(UndecryptableError, match="not configured"):
        KeyRing([OLD]).decrypt(fresh)


def test_the_same_secret_never_looks_the_same_twice():
    ring = KeyRing([OLD])
    assert ring.encrypt("secret") != ring.encrypt("secret")


def test_a_wrong_key_under_the_right_name_is_refused():
    stored = (
        KeyRing([OTHER])
        .encrypt("secret")
        .replace(KeyRing([OTHER]).primary_id, KeyRing([OLD]).primary_id)
    )
    with pytest.raises(UndecryptableError, match="damaged"):
        KeyRing([OLD]).decrypt(stored)


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: "",
        lambda stored: "plain text",
        lambda stored: stored.replace("v1", "v2"),
        lambda stored: stored[:-4],
        lambda stored: stored[:20],
        lambda stored: f"{stored}!",
        lambda stored: ":".join([*stored.split(":")[:2], ""]),
        lambda stored: ":".join([*stored.split(":")[:2], "AAAA"]),
        lambda stored: stored + "\u00e9",
    ],
)
def test_a_damaged_secret_is_refused_and_not_shown(change):
    ring = KeyRing([OLD])
    with pytest.raises(UndecryptableError) as caught:
        ring.decrypt(change(ring.encrypt("secret")))
    assert "secret" not in str(caught.value).replace("The secret", "").replace(
        "The stored secret", ""
    )


def test_nothing_of_a_key_is_shown():
    ring = KeyRing([NEW])
    for shown in (repr(ring), str(ring), repr(ring._keys), repr(vars(ring))):
        assert text_of(NEW) not in shown
        assert repr(NEW) not in shown


BAD_RINGS = [
    ([], "empty"),
    (["not base64!"], "not valid base64"),
    ([text_of(b"short")], "must be 32 bytes, got 5"),
    ([text_of(OLD), text_of(b"x" * 33)], "got 33"),
    ([""], "got 0"),
    (["\u00e9"], "not valid base64"),
]


@pytest.mark.parametrize(("texts", "reason"), BAD_RINGS)
def test_a_ring_that_cannot_be_used_is_refused_by_the_system_check(settings, texts, reason):
    with pytest.raises(KeyRingError, match=reason):
        KeyRing.from_texts(texts)
    settings.CHATD_ENCRYPTION_KEYS = tuple(texts)
    (message,) = encryption_keys_are_usable(None)
    assert message.id == "chatd.E001"
    assert reason in message.msg
    assert "CHATD_ENCRYPTION_KEYS" in message.hint


def test_a_ring_that_can_be_used_passes_the_system_check():
    assert encryption_keys_are_usable(None) == []
