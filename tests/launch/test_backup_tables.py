"""Every table is in a backup, or there is a reason."""

import pytest
from django.db import connection

from chatd.core.fields import EncryptedTextField
from chatd.launch.backup.tables import (
    LEFT_OUT,
    applied_migrations,
    apps_at,
    reader_of,
    tables_of,
)

pytestmark = pytest.mark.django_db


def test_every_table_of_the_database_is_carried_or_left_out_for_a_reason() -> None:
    carried = {table.name for table in tables_of(apps_at(applied_migrations()))}
    with connection.cursor() as cursor:
        there = set(connection.introspection.table_names(cursor))
    made_by_the_database = {name for name in there if name.startswith("chats_search")}
    assert there - carried - made_by_the_database == {*LEFT_OUT, "django_migrations"}
    assert all(LEFT_OUT.values())


def test_a_secret_that_stands_in_clear_is_sealed_on_its_way() -> None:
    read = reader_of(EncryptedTextField())
    assert read("in-clear").startswith("v1:")
    assert read("in-clear") != read("in-clear")
    sealed = read("in-clear")
    assert read(sealed) == sealed
    assert read("") == ""
