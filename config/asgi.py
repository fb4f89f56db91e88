"""The ASGI application: static files, HTTP to Django, WebSockets to the consumers."""

import django
from channels.routing import ProtocolTypeRouter
from django.contrib.staticfiles.finders import AppDirectoriesFinder, FileSystemFinder
from servestatic import ServeStaticASGI

from config.env import env

django.setup(set_prefix=False)

# These need a set-up Django.
from chatd.chats.media import MAX_FILE_BYTES  # noqa: E402
from chatd.core.bodies import BodyLimit  # noqa: E402
from chatd.core.gate import Gate  # noqa: E402
from chatd.core.handler import OneThreadHandler  # noqa: E402
from chatd.sockets.routing import websocket_application  # noqa: E402
from chatd.web.failures import refused  # noqa: E402

REQUESTS_WAITING = 1000
REQUEST_PATIENCE_SECONDS = 20.0

MAX_REQUEST_BYTES = 32 * 1024 * 1024


django_application = OneThreadHandler(
    Gate(
        at_once=env.request_slots,
        waiting=REQUESTS_WAITING,
        patience_seconds=REQUEST_PATIENCE_SECONDS,
    ),
    refused,
    threads=env.request_slots,
)


def _with_static_files(application: object) -> ServeStaticASGI:
    """Answer `/static/` from the source folders of the project and its apps; nothing to collect."""
    server = ServeStaticASGI(application, allow_all_origins=False, autorefresh=env.debug)
    for finder in (FileSystemFinder(), AppDirectoriesFinder()):
        for storage in finder.storages.values():
            server.add_files(storage.location, prefix="static/")
    return server


def _body_limit(path: str) -> int:
    """Return the most bytes a request may carry."""
    is_upload = path.rstrip("/").endswith("/chats/files")
    return MAX_FILE_BYTES if is_upload else MAX_REQUEST_BYTES


application = ProtocolTypeRouter(
    {
        "http": BodyLimit(_with_static_files(django_application), _body_limit),
        "websocket": websocket_application,
    }
)
