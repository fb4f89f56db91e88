"""The ASGI application: static files, HTTP to Django, WebSockets to the consumers."""

from channels.routing import ProtocolTypeRouter
from django.contrib.staticfiles.finders import AppDirectoriesFinder, FileSystemFinder
from django.core.asgi import get_asgi_application
from servestatic import ServeStaticASGI

from config.env import env

django_application = get_asgi_application()

from chatd.sockets.routing import websocket_application  # noqa: E402 - needs a set-up Django


def _with_static_files(application: object) -> ServeStaticASGI:
    """Answer `/static/` from the source folders of the project and its apps; nothing to collect."""
    server = ServeStaticASGI(application, allow_all_origins=False, autorefresh=env.debug)
    for finder in (FileSystemFinder(), AppDirectoriesFinder()):
        for storage in finder.storages.values():
            server.add_files(storage.location, prefix="static/")
    return server


application = ProtocolTypeRouter(
    {
        "http": _with_static_files(django_application),
        "websocket": websocket_application,
    }
)
