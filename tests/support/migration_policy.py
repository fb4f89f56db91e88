"""Which operations of a migration the code of the release before can live with.

Schema first, then code: while an upgrade is rolled out, the old code writes to the new schema.
"""

from django.db.migrations import operations as ops
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED, ManyToManyField

_HARMLESS = (
    ops.CreateModel,
    ops.AddIndex,
    ops.RemoveIndex,
    ops.RenameIndex,
    ops.AlterModelOptions,
    ops.AlterModelManagers,
    ops.AlterModelTableComment,
    ops.RemoveConstraint,
)


def objection_to(operation: Operation) -> str:
    """Return why old code may break on an operation; blank when it does not."""
    if isinstance(operation, _HARMLESS):
        return ""
    if isinstance(operation, ops.AddField):
        field = operation.field
        if field.null or field.db_default is not NOT_PROVIDED or isinstance(field, ManyToManyField):
            return ""
        return "old code adds rows without this column: it must be null or have a db_default"
    if isinstance(operation, ops.SeparateDatabaseAndState):
        return "; ".join(filter(None, map(objection_to, operation.database_operations)))
    return f"{type(operation).__name__} may take away what old code uses or does"
