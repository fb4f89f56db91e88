"""Waking a worker: a broker message that carries the id of a chat and of its owner.

The message is a hint. A pending chat whose message was lost is found by the sweep, so a broker
that is down never fails the request that made the chat pending.
"""

from uuid import UUID

import structlog
from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from chatd.core.context import correlation_id
from chatd.core.tracing import TRACEPARENT, traceparent

log = structlog.get_logger(__name__)

RUN_TURN_TASK = "chatd.turns.run"
TURN_QUEUE = "turns"
CAUSE_HEADER = "chatd_cause"


def enqueue_turn(chat_id: UUID, owner_id: UUID) -> bool:
    """Ask some worker to take the pending chat; False when the broker is away.

    The log lines of the turn carry the correlation id of the work at hand, and it belongs to the
    same trace.
    """
    args = [str(chat_id), str(owner_id)]
    headers = {CAUSE_HEADER: correlation_id(), TRACEPARENT: traceparent()}
    try:
        current_app.send_task(
            RUN_TURN_TASK, args=args, queue=TURN_QUEUE, headers=headers, ignore_result=True
        )
    except (OperationalError, RedisError, OSError) as error:
        log.warning("turn not enqueued", chat_id=str(chat_id), error=str(error))
        return False
    return True
