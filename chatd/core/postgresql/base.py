"""The backend itself. After a restart of the server every pooled connection is a dead one.

Asking each before it is used costs a round trip. A server that ends a connection says so on it, so
one look at the socket tells the same: an idle connection has nothing to read.
"""

import select
from typing import Any, Self, cast

from django.db.backends.postgresql import base, operations
from psycopg import Connection, Cursor


class DatabaseOperations(operations.DatabaseOperations):
    """As Django's, with a text of what a prepared cursor has executed."""

    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        if isinstance(cursor, _PreparedCursor):
            return str(self.compose_sql(sql, params))
        executed: str = super().last_executed_query(cursor, sql, params)
        return executed


class DatabaseWrapper(base.DatabaseWrapper):
    """As Django's, with a look at each connection that comes from the pool."""

    ops_class = DatabaseOperations

    def get_new_connection(self, conn_params: Any) -> Any:
        connection = super().get_new_connection(conn_params)
        pool = self.pool
        while pool and has_ended(connection):
            connection.close()
            pool.putconn(connection)  # which replaces a closed one
            connection = super().get_new_connection(conn_params)
        return connection

    def prepared_cursor(self) -> Any:
        """Return a cursor whose statements the server parses and plans once for a connection.

        Only where `prepare_threshold` is set; and only for statements that stay the same, because
        a connection keeps a hundred of them.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        with self.wrap_database_errors:
            return cast("Any", self)._prepare_cursor(_PreparedCursor(self.connection))


class _PreparedCursor(Cursor[Any]):
    """Prepares whatever it executes. Values travel beside the statement, not in it."""

    def execute(self, query: Any, params: Any = None, **_: Any) -> Self:
        return super().execute(query, params, prepare=True)


def has_ended(connection: Connection[Any]) -> bool:
    """Tell whether the server has closed an idle connection, or said that it will."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
