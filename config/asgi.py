"""The ASGI application: HTTP to Django, WebSockets to the consumers."""

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from chatd.sockets.routing import websocket_application  # noqa: E402 - needs a set-up Django

application = ProtocolTypeRouter({"http": django_application, "websocket": websocket_application})
