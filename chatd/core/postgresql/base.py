"""The backend itself. After a restart of the server every pooled connection is a dead one.

Asking each before it is used costs a round trip. A server that ends a connection says so on it, so
one look at the socket tells the same: an idle connection has nothing to read.
"""

import select
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection


class DatabaseWrapper(base.DatabaseWrapper):
    """As Django's, with a look at each connection that comes from the pool."""

    def get_new_connection(self, conn_params: Any) -> Any:
        connection = super().get_new_connection(conn_params)
        pool = self.pool
        while pool and has_ended(connection):
            connection.close()
            pool.putconn(connection)  # which replaces a closed one
            connection = super().get_new_connection(conn_params)
        return connection


def has_ended(connection: Connection[Any]) -> bool:
    """Tell whether the server has closed an idle connection, or said that it will."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
