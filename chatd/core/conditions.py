"""Conditions of columns that the databases write differently."""

from typing import Any

from django.db.models import BooleanField, Func


class IsShortDecimal(Func):
    """A decimal from 0 on with at most `digits` digits on either side of the point.

    Of an `ExactDecimalField`: a number on PostgreSQL, which knows no NaN below it, else its text.
    """

    output_field = BooleanField()
    template = (
        "(%(expressions)s >= 0 AND %(expressions)s < 1e%(digits)s"
        " AND %(expressions)s = round(%(expressions)s, %(digits)s))"
    )

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = (
            "(%(expressions)s GLOB '[0-9]*' AND %(expressions)s NOT GLOB '*[^0-9.]*'"
            " AND %(expressions)s NOT GLOB '*.*.*'"
            " AND instr(%(expressions)s || '.', '.') <= %(digits)s + 1"
            " AND (instr(%(expressions)s, '.') = 0 OR"
            " length(rtrim(%(expressions)s, '0')) - instr(%(expressions)s, '.') <= %(digits)s))"
        )
        return self.as_sql(compiler, connection, template=template, **context)
