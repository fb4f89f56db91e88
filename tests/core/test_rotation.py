"""Putting every secret under the first key, while others change them."""

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import count
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection, connections, models
from django.test.utils import isolate_apps

from chatd.core.checks import secrets_are_under_the_first_key
from chatd.core.coverage import (
    EncryptedColumn,
    count_by_key,
    count_by_opening,
    encrypted_columns,
    secrets_notice,
)
from chatd.core.crypto import KeyRing, SecretState
from chatd.core.fields import EncryptedTextField
from chatd.core.rotation import BATCH_ROWS, reseal
from chatd.mcp.models import MCPServerConfig, MCPServerUserToken
from chatd.mcp.secrets import SECRETS as SERVER_SECRETS
from chatd.mcp.secrets import unreadable_secrets
from chatd.providers.models import AIProvider, AIProviderKey, ProviderType
from tests.conftest import Cast

OLD, NEW, GONE = (bytes([number]) * 32 for number in range(3))
BEFORE, AFTER, BOTH = KeyRing([OLD]), KeyRing([NEW]), KeyRing([NEW, OLD])

WRITERS = 3
SECRETS = 12
SECONDS = 60.0


@pytest.fixture
def ring(settings: Any) -> Callable[..., None]:
    """Configure the keys of the deployment."""

    def configure(*keys: bytes) -> None:
        settings.CHATD_ENCRYPTION_KEYS = tuple(b64encode(key).decode() for key in keys)

    configure(NEW, OLD)
    return configure


@pytest.fixture
def column() -> EncryptedColumn:
    (found,) = [each for each in encrypted_columns() if each.model is AIProviderKey]
    return found


def store(*values: str) -> list[AIProviderKey]:
    """Store values as keys of one provider, as they are."""
    provider, _ = AIProvider.objects.get_or_create(
        name="p", type=ProviderType.OPENAI, base_url="http://127.0.0.1:9/v1"
    )
    return AIProviderKey.objects.bulk_create(
        AIProviderKey(provider=provider, api_key=value) for value in values
    )


def stored(key: AIProviderKey) -> str:
    return AIProviderKey.objects.get(pk=key.pk).api_key


def resealed(column: EncryptedColumn, ring: KeyRing = BOTH) -> int:
    return sum(batch.resealed for batch in reseal(column, ring))


def rotate(*arguments: str) -> tuple[list[str], str]:
    """Run the command and return the lines it printed and, if it failed, why."""
    out, reason = StringIO(), ""
    try:
        call_command("rotate_keys", *arguments, stdout=out)
    except CommandError as error:
        reason = str(error)
    return out.getvalue().splitlines(), reason


def numbers(lines: list[str]) -> list[int]:
    """Return the counts of the provider keys: total, first key, other keys, unreadable, clear."""
    (line,) = [line for line in lines if line.startswith("providers.AIProviderKey.api_key ")]
    return [int(number) for number in line.split()[1:]]


# Which columns


def test_every_encrypted_column_is_found_by_its_type() -> None:
    assert "providers.AIProviderKey.api_key" in map(str, encrypted_columns())


@pytest.mark.django_db(transaction=True)
def test_a_column_is_found_and_resealed_whatever_its_table_looks_like() -> None:
    class SpecialField(EncryptedTextField):
        pass

    class Hidden(models.Manager[Any]):
        def get_queryset(self) -> Any:
            return super().get_queryset().none()

    with isolate_apps("chatd.core") as registry:

        class Parent(models.Model):
            token = EncryptedTextField(null=True)
            objects = Hidden()

            class Meta:
                app_label = "core"

        class Child(Parent):
            settings = SpecialField(db_column="other_name", default="")

            class Meta:
                app_label = "core"

    columns = encrypted_columns(registry)
    assert list(map(str, columns)) == ["core.Parent.token", "core.Child.settings"]
    assert [column.is_in_database() for column in columns] == [False, False]
    with connection.schema_editor() as editor:
        editor.create_model(Parent)
        editor.create_model(Child)
    try:
        assert [column.is_in_database() for column in columns] == [True, True]
        rows = Child._base_manager
        rows.create(token=BEFORE.encrypt("a"), settings=BEFORE.encrypt("b"))
        rows.create(token=None, settings="")
        assert [resealed(each) for each in columns] == [1, 1]
        opened = [
            AFTER.open(value) for value in rows.order_by("pk").values_list("token", "settings")[0]
        ]
        assert opened == ["a", "b"]
        assert list(rows.values_list("token", "settings").order_by("pk"))[1] == (None, "")
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Child)
            editor.delete_model(Parent)


# What happens to each secret


@pytest.mark.django_db
def test_each_secret_goes_under_the_first_key_or_stays_as_it_is(column: EncryptedColumn) -> None:
    older, clear, current, gone, damaged, blank = keys = store(
        BEFORE.encrypt("older"),
        "sk-in-clear",
        AFTER.encrypt("current"),
        KeyRing([GONE]).encrypt("gone"),
        BEFORE.encrypt("damaged")[:-4],
        "",
    )
    assert resealed(column) == 2
    assert [AFTER.open(stored(key)) for key in (older, clear)] == ["older", "sk-in-clear"]
    assert [AFTER.state(stored(key)) for key in (older, clear)] == [SecretState.CURRENT] * 2
    for key in (current, gone, damaged, blank):
        assert stored(key) == key.api_key
    assert resealed(column) == 0
    assert len(keys) == AIProviderKey.objects.count()


@pytest.mark.django_db
def test_a_rotation_can_be_stopped_and_run_again(column: EncryptedColumn) -> None:
    store(*(BEFORE.encrypt(str(number)) for number in range(BATCH_ROWS + 3)))
    first = next(iter(reseal(column, BOTH)))
    assert (first.seen, first.resealed) == (BATCH_ROWS, BATCH_ROWS)
    assert count_by_opening(column, BOTH).counts == {
        SecretState.CURRENT: BATCH_ROWS,
        SecretState.OLDER: 3,
    }
    assert resealed(column) == 3
    opened = {
        AFTER.open(value) for value in AIProviderKey.objects.values_list("api_key", flat=True)
    }
    assert opened == set(map(str, range(BATCH_ROWS + 3)))


@pytest.mark.django_db
def test_what_cannot_be_read_does_not_keep_a_rotation_from_its_end(column: EncryptedColumn) -> None:
    store(*["v1:nobody:AAAA"] * (BATCH_ROWS + 1))
    assert [batch.seen for batch in reseal(column, BOTH)] == [BATCH_ROWS, 1]


# Changes made meanwhile


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Do something on another connection right before the first row is written."""
    waiting: list[Callable[[], Any]] = []

    def before_write(execute: Any, sql: str, *rest: Any) -> Any:
        if waiting and sql.startswith("UPDATE"):
            on_another_connection(waiting.pop())
        return execute(sql, *rest)

    with connection.execute_wrapper(before_write):
        yield waiting.append
    assert not waiting


def on_another_connection(change: Callable[[], Any]) -> None:
    def run() -> None:
        try:
            change()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by", [BEFORE, AFTER], ids=["an old process", "a new process"])
def test_a_secret_that_is_changed_meanwhile_is_not_overwritten(
    column: EncryptedColumn, meanwhile: Callable[..., None], by: KeyRing
) -> None:
    (key,) = store(BEFORE.encrypt("first"))
    entered = by.encrypt("second")
    meanwhile(lambda: AIProviderKey.objects.filter(pk=key.pk).update(api_key=entered))
    assert resealed(column) == (1 if by is BEFORE else 0)
    assert AFTER.open(stored(key)) == "second"


@pytest.mark.django_db(transaction=True)
def test_a_secret_that_is_deleted_or_blanked_meanwhile_does_not_come_back(
    column: EncryptedColumn, meanwhile: Callable[..., None]
) -> None:
    (key,) = store(BEFORE.encrypt("first"))
    meanwhile(lambda: AIProviderKey.objects.filter(pk=key.pk).update(api_key=""))
    assert resealed(column) == 0
    assert stored(key) == ""
    AIProviderKey.objects.filter(pk=key.pk).update(api_key=BEFORE.encrypt("again"))
    meanwhile(lambda: AIProviderKey.objects.filter(pk=key.pk).delete())
    assert resealed(column) == 0
    assert not AIProviderKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_under_load_nothing_is_lost(column: EncryptedColumn) -> None:
    """Processes with the old and the new first key change secrets while they are rotated."""
    keys = store(*(BEFORE.encrypt("start") for _ in range(SECRETS)))
    last: dict[Any, str] = {}
    failures: list[BaseException] = []
    rotated = threading.Event()

    def write(mine: list[AIProviderKey], ring: KeyRing) -> None:
        try:
            for number in count():
                key = mine[number % len(mine)]
                value = ring.encrypt(f"{key.pk} {number}")
                assert AIProviderKey.objects.filter(pk=key.pk).update(api_key=value) == 1
                last[key.pk] = f"{key.pk} {number}"
                if rotated.is_set() and number >= len(mine):
                    return
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    rings = [BEFORE, AFTER, BEFORE]
    threads = [
        threading.Thread(target=write, args=(keys[number::WRITERS], rings[number]))
        for number in range(WRITERS)
    ]
    for thread in threads:
        thread.start()
    try:
        done = 0
        while done < 20 * SECRETS and not failures:
            done += resealed(column)
    finally:
        rotated.set()
        for thread in threads:
            thread.join(SECONDS)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)
    resealed(column)
    assert {key.pk: AFTER.open(stored(key)) for key in keys} == last


# The command


@pytest.mark.django_db
def test_the_command_reseals_and_counts(ring: Callable[..., None]) -> None:
    keys = store(BEFORE.encrypt("a"), BEFORE.encrypt("b"), AFTER.encrypt("c"), "sk-in-clear", "")
    lines, reason = rotate("--check")
    assert numbers(lines) == [4, 1, 2, 0, 1]
    assert reason.startswith("3 of 4 secrets are not under the first key. Run rotate_keys")
    assert [stored(key) for key in keys] == [key.api_key for key in keys]
    lines, reason = rotate()
    assert lines[0] == "3 secrets re-sealed."
    assert (numbers(lines), reason) == ([4, 4, 0, 0, 0], "")
    assert lines[-1] == "All 4 secrets are under the first key."
    assert rotate("--check")[1] == ""
    ring(NEW)
    assert rotate("--check")[1] == ""


@pytest.mark.django_db
def test_the_command_fails_and_says_what_to_do_when_secrets_cannot_be_read(
    ring: Callable[..., None],
) -> None:
    store(BEFORE.encrypt("a"), KeyRing([GONE]).encrypt("b"), AFTER.encrypt("c")[:-4])
    for arguments in ((), ("--check",)):
        lines, reason = rotate(*arguments)
        assert numbers(lines) == [3, 1, 0, 2, 0]
        assert reason.startswith("2 of 3 secrets are not under the first key. 2 cannot be read")


@pytest.mark.django_db
def test_the_command_shows_neither_secrets_nor_what_is_stored(ring: Callable[..., None]) -> None:
    (sealed, _) = store(BEFORE.encrypt("the-secret"), "sk-in-clear")
    printed = str((rotate("--check"), rotate()))
    for piece in ("the-secret", "sk-in-clear", sealed.api_key, b64encode(OLD).decode()):
        assert piece not in printed


@pytest.mark.django_db
def test_without_secrets_all_is_well_and_without_keys_nothing_is_done(
    ring: Callable[..., None],
) -> None:
    assert rotate()[1] == ""
    (key,) = store("sk-in-clear")
    ring()
    assert "CHATD_ENCRYPTION_KEYS is empty" in rotate()[1]
    assert stored(key) == "sk-in-clear"


# What administrators are told


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        ([AFTER.encrypt("a"), ""], []),
        (["sk-in-clear"], [("chatd.W002", "1 of 1 secrets are stored in clear.")]),
        (
            [BEFORE.encrypt("a"), BEFORE.encrypt("b"), AFTER.encrypt("c")],
            [("chatd.W003", "2 of 3 secrets are stored under an older key")],
        ),
        (
            [KeyRing([GONE]).encrypt("a"), "sk-in-clear"],
            [("chatd.W002", "1 of 2"), ("chatd.W004", "1 of 2 secrets are stored under a key")],
        ),
    ],
)
def test_system_checks_of_the_database_warn_of_secrets_that_need_care(
    ring: Callable[..., None], values: list[str], found: list[tuple[str, str]]
) -> None:
    store(*values)
    warnings = [each for each in run_checks(databases=["default"]) if each.id in WARNINGS]
    assert [each.id for each in warnings] == [identifier for identifier, _ in found]
    for warning, (_, beginning) in zip(warnings, found, strict=True):
        assert warning.msg.startswith(beginning)
        assert warning.hint
        assert not warning.is_serious()


WARNINGS = {"chatd.W002", "chatd.W003", "chatd.W004"}


def test_system_checks_without_a_database_do_not_ask_it() -> None:
    assert secrets_are_under_the_first_key(None) == []


@pytest.mark.django_db
@pytest.mark.parametrize("texts", [(), ("not base64!",)])
def test_a_ring_that_cannot_be_used_is_told_once(settings: Any, texts: tuple[str, ...]) -> None:
    store(BEFORE.encrypt("a"))
    settings.CHATD_ENCRYPTION_KEYS = texts
    assert secrets_are_under_the_first_key(None, databases=["default"]) == []


@pytest.mark.django_db
def test_the_notice_says_what_is_wrong_and_what_to_do(
    ring: Callable[..., None], settings: Any
) -> None:
    store(BEFORE.encrypt("a"), AFTER.encrypt("b"), "sk-in-clear")
    assert secrets_notice() == ""
    ring(NEW)
    assert secrets_notice().startswith("1 of 3 stored secrets cannot be read")
    ring()
    assert secrets_notice().startswith("CHATD_ENCRYPTION_KEYS is empty")
    settings.CHATD_ENCRYPTION_KEYS = ("not base64!",)
    assert secrets_notice().startswith("Key 1 of CHATD_ENCRYPTION_KEYS is not valid base64 text.")


@pytest.mark.django_db
def test_counting_by_key_takes_one_query(
    column: EncryptedColumn, django_assert_num_queries: Any
) -> None:
    store(*(BEFORE.encrypt(str(number)) for number in range(9)), AFTER.encrypt("c"), "clear", "")
    with django_assert_num_queries(1):
        counts = count_by_key(column, BOTH).counts
    assert counts == {SecretState.OLDER: 9, SecretState.CURRENT: 1, SecretState.CLEAR: 1}


MCP_SECRETS = {
    "mcp.MCPServerConfig.oauth2_client_secret",
    "mcp.MCPServerConfig.api_key_value",
    "mcp.MCPServerConfig.custom_headers",
    "mcp.MCPServerUserToken.access_token",
    "mcp.MCPServerUserToken.refresh_token",
}


@pytest.mark.django_db(transaction=True)
def test_secrets_of_mcp_servers_and_of_people_s_connections_are_rotated_too(
    ring: Callable[..., None], cast: Cast
) -> None:
    old = BEFORE.encrypt
    server = MCPServerConfig.objects.create(
        display_name="Tools",
        slug="tools",
        url="http://127.0.0.1:9/mcp",
        oauth2_client_secret=old("a"),
        api_key_value=old("b"),
        custom_headers=old('{"X": "c"}'),
    )
    token = MCPServerUserToken.objects.create(
        server=server, user=cast.alice, access_token=old("d"), refresh_token=old("e")
    )
    columns = [each for each in encrypted_columns() if str(each) in MCP_SECRETS]
    assert set(map(str, columns)) == MCP_SECRETS
    assert rotate()[1] == ""
    server.refresh_from_db()
    token.refresh_from_db()
    stored_now = [getattr(server, name) for name in SERVER_SECRETS]
    stored_now += [token.access_token, token.refresh_token]
    assert [AFTER.open(each) for each in stored_now] == ["a", "b", '{"X": "c"}', "d", "e"]
    ring(NEW)
    assert unreadable_secrets(server) == []
