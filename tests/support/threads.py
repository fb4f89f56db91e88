"""Ending the database threads of the process, so that a test database can be dropped."""

from django.db import connections

from chatd.core import threads
from config.env import env


def close_database_threads() -> None:
    """Close the connections of every database thread and end the threads."""
    for pool in (threads._executor, threads._patient_executor):
        if not pool.cache_info().currsize:
            continue
        executor = pool()
        pool.cache_clear()
        closing = [executor.submit(connections.close_all) for _ in range(env.database_threads * 2)]
        for done in closing:
            done.result()
        executor.shutdown(wait=True)
