"""Statements that are compiled once: the same few, run for every turn, with other values.

Building a query from scratch is most of what a small one costs: of the CPU of a turn a third went
into putting together SQL that was the same as the last time. A `Select` is written as a QuerySet
with `Parameter`s in the place of values, is compiled by Django when it is first used, and gives
the same instances. On PostgreSQL the server keeps the plan too, where
`CHATD_PREPARED_STATEMENTS` allows it.

For statements of hot paths alone: all others are QuerySets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Generic, TypeVar, cast

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    ValuesListIterable,
    get_related_populators,
)
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.models.sql.compiler import SQLCompiler
from django.db.transaction import TransactionManagementError

Row = TypeVar("Row")
M = TypeVar("M", bound=Model)


class Parameter(Expression):
    """Stands in a statement for a value that is given when it is run.

    `field` says how the value is sent: a field of the model, or one like it.
    """

    def __init__(self, name: str, field: "Field[Any, Any]") -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> Any:
        placeholder = getattr(self.output_field, "get_placeholder", None)
        return placeholder(None, compiler, connection) if placeholder else "%s", [self]

    def sent(self, values: dict[str, Any], to: BaseDatabaseWrapper) -> Any:
        return self.output_field.get_db_prep_save(values[self.name], connection=to)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A compiled statement. `make` turns a row, converted, into what is returned for it."""

    sql: str
    parameters: Sequence[Any]
    locks: bool = False
    converters: Sequence[tuple[int, Sequence[Callable[..., Any]], Any]] = ()
    make: Callable[[Sequence[Any]], Any] = tuple

    def run(self, values: dict[str, Any]) -> Any:
        """Execute it and return the cursor. Raises KeyError when a value was not given."""
        if self.locks and not connection.in_atomic_block:
            raise TransactionManagementError("what locks rows must run in a transaction")
        sent = [
            entry.sent(values, connection) if isinstance(entry, Parameter) else entry
            for entry in self.parameters
        ]
        cursor = getattr(connection, "prepared_cursor", connection.cursor)()
        cursor.execute(self.sql, sent)
        return cursor

    def rows(self, values: dict[str, Any]) -> list[Any]:
        with self.run(values) as cursor:
            found = cursor.fetchall()
        return [self.make(self._converted(row)) for row in found]

    def _converted(self, row: Sequence[Any]) -> Sequence[Any]:
        if not self.converters:
            return row
        converted = list(row)
        for position, functions, expression in self.converters:
            value = converted[position]
            for function in functions:
                value = function(value, expression, connection)
            converted[position] = value
        return converted


class Select(Generic[Row]):
    """A read: of whole rows with what `select_related` names, or of columns by `values_list`.

    `build` returns its QuerySet, without prefetches and annotations. It is called when the
    statement is first run.
    """

    def __init__(self, build: Callable[[], "QuerySet[Any, Row]"]) -> None:
        self._build = build
        self._plans: dict[str, _Plan] = {}

    def all(self, **values: Any) -> list[Row]:
        """Return what it finds."""
        return self._plan().rows(values)

    def first(self, **values: Any) -> Row | None:
        """Return the first row it finds. Statements that are used so have a limit of one."""
        found: list[Row] = self._plan().rows(values)
        return found[0] if found else None

    def _plan(self) -> _Plan:
        plan = self._plans.get(connection.vendor)
        if plan is None:
            plan = self._plans[connection.vendor] = _select_plan(self._build())
        return plan


def _select_plan(queryset: "QuerySet[Any, Any]") -> _Plan:
    query = queryset.query
    compiler = query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    columns = [column[0] for column in compiler.select[: compiler.col_count]]
    converters = [
        (position, functions, expression)
        for position, (functions, expression) in compiler.get_converters(columns).items()
    ]
    return _Plan(
        sql, parameters, bool(query.select_for_update), converters, _maker(queryset, compiler)
    )


def _maker(queryset: Any, compiler: Any) -> Callable[[Sequence[Any]], Any]:
    """Return what makes the result of a converted row. Raises TypeError for other kinds."""
    kind = queryset._iterable_class
    if kind is ValuesListIterable:
        return tuple
    if kind is FlatValuesListIterable:
        return lambda row: row[0]
    if kind is not ModelIterable:
        raise TypeError(f"a compiled statement cannot return what a {kind.__name__} does")
    if compiler.annotation_col_map or queryset._prefetch_related_lookups:
        raise TypeError("a compiled statement has neither annotations nor prefetches")
    information = compiler.klass_info
    start, end = information["select_fields"][0], information["select_fields"][-1] + 1
    names = [column[0].target.attname for column in compiler.select[start:end]]
    related = get_related_populators(information, compiler.select, queryset.db)  # type: ignore[call-arg]  # stubs are of a later Django
    return partial(_instance, information["model"], queryset.db, names, slice(start, end), related)


def _instance(
    model: type[M],
    alias: str,
    names: Sequence[str],
    own: slice,
    related: Sequence[Any],
    row: Sequence[Any],
) -> M:
    instance = model.from_db(alias, names, row[own])
    for populator in related:
        populator.populate(row, instance)
    return instance


class Update(Generic[M]):
    """An update of the columns it is given, compiled once for each set of them.

    `build` returns the rows to update, with `Parameter`s.
    """

    def __init__(self, build: Callable[[], "QuerySet[M, M]"]) -> None:
        self._build = build
        self._plans: dict[tuple[Any, ...], _Plan] = {}

    def run(self, where: dict[str, Any], columns: dict[str, Any]) -> int:
        """Write `columns` to the rows that `where` finds; returns how many there were.

        An expression as a value is a part of the statement: it should be one of a few.
        """
        expressions = {name: value for name, value in columns.items() if _is_expression(value)}
        key = (connection.vendor, *columns, *expressions.values())
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = _update_plan(self._build(), list(columns), expressions)
        values = {_column(name): value for name, value in columns.items()}
        with plan.run(where | values) as cursor:
            return int(cursor.rowcount)


def _is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression")


def _column(name: str) -> str:
    """Return the name of the parameter of a column that is written: it may be in `where` too."""
    return f"set {name}"


def _update_plan(
    queryset: "QuerySet[Any, Any]", names: Sequence[str], expressions: dict[str, Any]
) -> _Plan:
    query = cast("UpdateQuery", queryset.query.chain(UpdateQuery))
    field_of = queryset.model._meta.get_field
    query.add_update_values(
        {name: Parameter(_column(name), cast("Any", field_of(name))) for name in names}
        | expressions
    )
    sql, parameters = query.get_compiler(connection=connection).as_sql()
    return _Plan(sql, parameters)


_inserts: dict[tuple[str, type[Model]], _Plan] = {}


def insert(rows: Sequence[M]) -> Sequence[M]:
    """Insert new rows of one model, whose keys the database makes, as `bulk_create` does."""
    if len(rows) > 1:
        type(rows[0])._default_manager.bulk_create(rows)
    if len(rows) != 1:
        return rows
    [row] = rows
    model, fields = type(row), _inserted_fields(type(row))
    plan = _inserts.get((connection.vendor, model))
    if plan is None:
        plan = _inserts[connection.vendor, model] = _insert_plan(model, fields)
    values = {field.attname: field.pre_save(row, add=True) for field in fields}
    with plan.run(values) as cursor:
        row.pk = cursor.fetchone()[0]
    row._state.adding, row._state.db = False, connection.alias
    return rows


@cache
def _inserted_fields(model: type[Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not field.primary_key]


def _insert_plan(model: type[Model], fields: Sequence[Any]) -> _Plan:
    query = InsertQuery(model)
    query.insert_values(fields, [cast("Any", _Unsaved(fields))])
    compiler = query.get_compiler(connection=connection)
    compiler.returning_fields = [model._meta.pk]
    [(sql, parameters)] = compiler.as_sql()
    return _Plan(sql, parameters)


class _Unsaved:
    """Has a parameter for each field, in the place of a row."""

    def __init__(self, fields: Sequence[Any]) -> None:
        for field in fields:
            setattr(self, field.attname, Parameter(field.attname, field))
