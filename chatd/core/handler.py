"""Django behind ASGI, with every request on one thread from its first signal to its last.

Views and middleware of this project are synchronous. Django's own handler starts a thread for each
request, with everything that belongs to a thread, and goes there and back three times. Here a
request is one visit to one of a few threads that stay. Only so many have a thread at a time
(`gate`); a body is read before that, and an answer sent after it, so that slow clients hold none.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import IO, Any, cast

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from chatd.core.errors import ChatdError
from chatd.core.gate import Gate
from chatd.core.threads import close_connections, give_back_connections

Refuse = Callable[[HttpRequest, ChatdError], HttpResponseBase]

ALWAYS_LET_IN = ("/healthz", "/readyz", "/metrics")
"""What tells how the process does must be answered above all when it does badly."""

_THREADS_FOR_THOSE = 2


class OneThreadHandler(ASGIHandler):
    """The ASGI handler with a synchronous chain of middleware, behind a gate.

    `refuse` renders what the gate refuses. `threads` is how many requests have one at a time.
    """

    def __init__(self, gate: Gate, refuse: Refuse, *, threads: int) -> None:
        super().__init__()
        self._gate = gate
        self._refuse = refuse
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="chatd-http")
        self._always_free = ThreadPoolExecutor(_THREADS_FOR_THOSE, thread_name_prefix="chatd-probe")

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        with body:
            response = await self._response_to(scope, body)
            if not response.streaming:
                await self.send_response(response, send)
                return
            async with ThreadSensitiveContext():
                try:
                    await self.send_response(response, send)
                finally:
                    await sync_to_async(_end)(response)

    async def _response_to(self, scope: Any, body: IO[bytes]) -> HttpResponseBase:
        exchange = partial(copy_context().run, self._exchange, scope, body)
        if scope["path"].startswith(ALWAYS_LET_IN):
            return await self.visit(self._always_free, exchange)
        try:
            async with self._gate.passed():
                return await self.visit(self._threads, exchange)
        except ChatdError as error:
            return self._refuse(self.request_class(scope, body), error)

    async def visit(
        self, threads: ThreadPoolExecutor, exchange: Callable[[], HttpResponseBase]
    ) -> HttpResponseBase:
        """Have a request answered on one of `threads`."""
        return await asyncio.get_running_loop().run_in_executor(threads, exchange)

    def _exchange(self, scope: Any, body: IO[bytes]) -> HttpResponseBase:
        """Return the answer, closed, unless it is still to be made while it is sent."""
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        response._handler_class = type(self)
        if response.streaming:
            give_back_connections()
        else:
            response.close()
        return cast("HttpResponseBase", response)


def _end(response: HttpResponseBase) -> None:
    """Close an answer that was made while it was sent, on a thread that ends with it."""
    response.close()
    close_connections()
