"""Celery tasks of the API."""

from celery import shared_task

from chatd.api.idempotency import purge_stored_answers

PURGE_TASK = "chatd.api.purge_stored_answers"


@shared_task(name=PURGE_TASK, ignore_result=True)
def purge() -> None:
    """Delete stored answers that are older than they are kept."""
    purge_stored_answers()
