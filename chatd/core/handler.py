"""Django behind ASGI, with every request on one thread from the first middleware to the view.

Views and most middleware of this project are synchronous. Django's own handler runs middleware that
can be asynchronous on the event loop, and so changes between the loop and a thread several times in
each request. Only so many requests have a thread at a time (`gate`); a body is read before that, so
that slow clients hold none.
"""

from collections.abc import Callable

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from chatd.core.errors import ChatdError
from chatd.core.gate import Gate

Refuse = Callable[[HttpRequest, ChatdError], HttpResponseBase]

ALWAYS_LET_IN = ("/healthz", "/readyz", "/metrics")
"""What tells how the process does must be answered above all when it does badly."""


class OneThreadHandler(ASGIHandler):
    """The ASGI handler with a synchronous chain of middleware, behind a gate.

    `refuse` renders what the gate refuses.
    """

    def __init__(self, gate: Gate, refuse: Refuse) -> None:
        super().__init__()
        self._gate = gate
        self._refuse = refuse

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(ALWAYS_LET_IN):
            return await self._answer(request)
        try:
            async with self._gate.passed():
                return await self._answer(request)
        except ChatdError as error:
            return self._refuse(request, error)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await sync_to_async(self.get_response)(request)
        return response
