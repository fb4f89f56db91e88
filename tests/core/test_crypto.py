"""The key ring: rotation, refusals, and that nothing shows a secret."""

import traceback
from base64 import b64encode
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.core.checks import encryption_keys_are_usable
from chatd.core.crypto import HEAD_CHARS, KeyRing, KeyRingError, SecretState, UndecryptableError
from chatd.core.errors import ChatdError
from chatd.core.fields import open_secret, seal, secret_state

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


def test_text_that_no_encoding_takes_comes_back_without_an_error_that_would_show_it():
    ring = KeyRing([OLD])
    assert ring.decrypt(ring.encrypt("half \ud83d of a pair")) == "half \ud83d of a pair"


def test_a_failure_to_open_carries_nothing_but_its_sentence():
    stored = KeyRing([OLD]).encrypt("the plain text")
    with pytest.raises(UndecryptableError) as caught:
        KeyRing([OLD]).decrypt(stored[:-8] + "AAAAAAA=")
    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error!r} {vars(error)} {''.join(traceback.format_exception(error))}"
        for piece in ("the plain text", text_of(OLD), repr(OLD), stored):
            assert piece not in shown
        error = error.__context__


SEALED = KeyRing([OLD]).encrypt("secret")


@pytest.mark.parametrize(
    ("stored", "keys", "state"),
    [
        ("", [OLD], SecretState.BLANK),
        ("", [], SecretState.BLANK),
        (SEALED, [OLD], SecretState.CURRENT),
        (SEALED, [OLD, NEW], SecretState.CURRENT),
        (SEALED, [NEW, OLD], SecretState.OLDER),
        (SEALED, [NEW], SecretState.KEY_MISSING),
        (SEALED, [], SecretState.KEY_MISSING),
        ("sk-in-clear", [OLD], SecretState.CLEAR),
        ("sk-in-clear", [], SecretState.CLEAR),
        ("v1:sk", [OLD], SecretState.KEY_MISSING),
        (SEALED.replace("v1", "v2"), [OLD], SecretState.DAMAGED),
    ],
    ids=count(),  # a sealed value is another one in each process of a parallel run
)
def test_the_beginning_of_a_stored_value_tells_its_state(stored, keys, state):
    ring = KeyRing(keys)
    assert ring.state(stored) is state
    assert ring.state_by_head(stored[:HEAD_CHARS]) is state
    assert state.needs_reentry == (state in {SecretState.KEY_MISSING, SecretState.DAMAGED})


@pytest.mark.parametrize("keys", [[OLD], [NEW, OLD]])
def test_damage_is_seen_when_a_value_is_opened(keys):
    assert KeyRing(keys).state(SEALED[:-4]) is SecretState.DAMAGED


def test_what_is_blank_or_in_clear_is_opened_as_it_is():
    ring = KeyRing([OLD])
    assert (ring.open(""), ring.open("sk-in-clear"), ring.open(SEALED)) == (
        "",
        "sk-in-clear",
        "secret",
    )


@pytest.mark.parametrize("texts", [[], ["not base64!"]])
def test_without_a_usable_ring_nothing_is_opened_and_storing_says_what_to_do(settings, texts):
    stored = seal("secret")
    settings.CHATD_ENCRYPTION_KEYS = tuple(texts)
    assert secret_state(stored) is SecretState.KEY_MISSING
    with pytest.raises(UndecryptableError):
        open_secret(stored)
    assert (seal(""), open_secret(""), secret_state(None)) == ("", "", SecretState.BLANK)
    with pytest.raises(ChatdError) as caught:
        seal("secret")
    assert caught.value.http_status == 503
    assert "CHATD_ENCRYPTION_KEYS" in caught.value.detail


def test_nothing_of_a_key_is_shown():
    ring = KeyRing([NEW])
    for shown in (repr(ring), str(ring), repr(ring._keys), repr(vars(ring))):
        assert text_of(NEW) not in shown
        assert repr(NEW) not in shown


BAD_RINGS = [
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
    assert f"Key {len(texts)} of CHATD_ENCRYPTION_KEYS" in message.msg
    assert "CHATD_ENCRYPTION_KEYS" in message.hint


def test_an_empty_ring_is_a_warning_because_much_needs_no_secret(settings):
    settings.CHATD_ENCRYPTION_KEYS = ()
    (message,) = encryption_keys_are_usable(None)
    assert message.id == "chatd.W001"
    assert not message.is_serious()
    assert "CHATD_ENCRYPTION_KEYS" in message.msg


def test_a_ring_that_can_be_used_passes_the_system_check():
    assert encryption_keys_are_usable(None) == []
