"""The Celery application. Its broker is Redis, or memory when everything shares one process."""

from typing import Any

from celery import Celery, signals

from config.env import env

# Slots plus room for acks, heartbeats and beat; the default of 10 loses acks under load.
_BROKER_CONNECTIONS = env.turn_slots + 20

app = Celery("chatd")
app.conf.update(
    broker_url=env.redis_url or "memory://embedded",
    broker_transport_options=(
        {
            "max_connections": _BROKER_CONNECTIONS,
            "visibility_timeout": 3600,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "global_keyprefix": "chatd:celery:",
        }
        if env.redis_url
        else {"polling_interval": 0.01}
    ),
    imports=["chatd.turns.tasks", "chatd.api.tasks"],
    broker_connection_retry_on_startup=True,
    broker_pool_limit=16,
    task_ignore_result=True,
    task_acks_late=True,
    task_default_queue="default",
    task_publish_retry=False,
    task_serializer="json",
    accept_content=["json"],
    worker_pool="threads",
    worker_concurrency=env.turn_slots,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    beat_schedule={
        "housekeeping": {"task": "chatd.turns.housekeeping", "schedule": 3600.0},
        "purge": {"task": "chatd.turns.purge", "schedule": 600.0},
        "stored-answers": {"task": "chatd.api.purge_stored_answers", "schedule": 3600.0},
    },
)


@signals.setup_logging.connect(dispatch_uid="chatd-logging")
def _keep_our_logging(**_: Any) -> None:
    """Leave logging as the settings made it: Celery would set the root level to WARNING."""
