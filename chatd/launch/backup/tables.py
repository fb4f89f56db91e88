"""What a backup holds of each table, and how a value is written so that either database takes it.

Texts and JSON are carried as they are stored, the rest by its type. Models are those of the
migrations that the database has, which need not be the newest.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.apps.registry import Apps
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.models import AutoField, Field, ForeignKey, Model

from chatd.core.crypto import SecretState
from chatd.core.fields import EncryptedTextField, ExactDecimalField, WordsField, seal, secret_state
from chatd.launch.backup.archive import BackupError

AnyField = Field[Any, Any]
Change = Callable[[Any], Any]

LEFT_OUT = {
    "django_session": "whoever has its key is signed in; people sign in again",
    "chats_chatsearchentry": "made anew of the messages",
    "django_content_type": "made by migrating",
    "auth_permission": "made by migrating",
    "auth_group": "not used",
    "auth_group_permissions": "not used",
    "django_admin_log": "not used",
}
"""Tables that no backup holds, and why."""

_AS_STORED = (models.CharField, models.TextField, models.JSONField, models.GenericIPAddressField)


@dataclass(frozen=True, slots=True)
class Table:
    """A table by its model of some state of the migrations."""

    model: type[Model]

    @property
    def name(self) -> str:
        return self.model._meta.db_table

    @property
    def fields(self) -> dict[str, AnyField]:
        """The fields by the names of their columns."""
        return {str(field.column): field for field in self.model._meta.concrete_fields}

    @property
    def numbered(self) -> bool:
        """True where the database numbers new rows."""
        return isinstance(self.model._meta.pk, AutoField)

    @property
    def is_heavy(self) -> bool:
        """True where one row may be tens of megabytes."""
        return any(isinstance(field, models.BinaryField) for field in self.fields.values())


def applied_migrations() -> list[tuple[str, str]]:
    """Return what the database was migrated by. Raises BackupError for a newer version."""
    loader = MigrationLoader(connection)
    applied = sorted(loader.applied_migrations)
    check_known(loader, applied)
    return applied


def check_known(loader: MigrationLoader, wanted: Iterable[tuple[str, str]]) -> None:
    """Raise BackupError when there is a migration that this version does not know."""
    unknown = [f"{app}.{name}" for app, name in wanted if (app, name) not in loader.graph.nodes]
    if unknown:
        raise BackupError(
            f"This version does not know the migrations {', '.join(unknown)}: use the version that"
            " made them, or a newer one."
        )


def apps_at(migrations: Iterable[tuple[str, str]]) -> Apps:
    """Return the models as they were after these migrations."""
    state = MigrationLoader(connection).project_state(list(migrations))
    found: Apps = state.apps
    return found


def tables_of(apps: Apps) -> list[Table]:
    """Return every table that a backup holds."""
    found = {
        model._meta.db_table: Table(model)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    }
    return [table for name, table in sorted(found.items()) if name not in LEFT_OUT]


def _stored(field: AnyField) -> AnyField:
    """Return the field that says what a column holds: for a foreign key, the one it names."""
    while isinstance(field, ForeignKey):
        field = field.target_field
    return field


def reader_of(field: AnyField) -> Change:
    """Return what makes a value of a backup from one that was selected."""
    stored = _stored(field)
    if isinstance(stored, EncryptedTextField):
        return _sealed
    if isinstance(stored, ExactDecimalField):
        return _decimal_text
    if isinstance(stored, (*_AS_STORED, WordsField)):
        return _same
    column = stored.get_col(stored.model._meta.db_table)
    converters = connection.ops.get_db_converters(column)

    def read(value: Any) -> Any:
        for convert in converters:
            value = convert(value, column, connection)
        return bytes(value) if isinstance(value, memoryview) else value

    return read


def writer_of(field: AnyField) -> Change:
    """Return what makes a parameter of a statement from a value of a backup."""
    stored = _stored(field)
    if isinstance(stored, _AS_STORED) and not isinstance(stored, ExactDecimalField):
        return _same
    return lambda value: (
        None if value is None else stored.get_db_prep_save(stored.to_python(value), connection)
    )


def _same(value: Any) -> Any:
    return value


def _decimal_text(value: Any) -> str | None:
    return None if value is None else format(Decimal(value), "f")


def _sealed(value: str | None) -> str | None:
    """Return a secret encrypted, also where it still stands in clear in the database."""
    return seal(value or "") if secret_state(value) == SecretState.CLEAR else value
