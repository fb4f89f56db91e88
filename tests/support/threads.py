"""Ending the database threads of the process, so that a test database can be dropped."""

from django.db import connections

from chatd.core import threads
from config.env import env


def close_database_threads() -> None:
    """Close the connections of every database thread and end the threads."""
    if not threads._executor.cache_info().currsize:
        return
    executor = threads._executor()
    threads._executor.cache_clear()
    closing = [executor.submit(connections.close_all) for _ in range(env.database_threads * 2)]
    for done in closing:
        done.result()
    executor.shutdown(wait=True)
