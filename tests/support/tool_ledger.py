"""A tool server that counts: what may be done once, and what may be looked at again."""

import asyncio
from collections import Counter
from threading import Lock

from mcp_types import ToolAnnotations

from tests.support.mcp_server import ToolServer


class Ledger(ToolServer):
    """A server with a tool that books, each reference to be booked once, and one that looks."""

    def __init__(self) -> None:
        super().__init__()
        self.booked: Counter[str] = Counter()
        self._guard = Lock()

        @self._server.tool(structured_output=False)
        async def book(reference: str) -> str:
            with self._guard:
                self.booked[reference] += 1
            await asyncio.sleep(0.15)
            return f"booked {reference}"

        @self._server.tool(
            annotations=ToolAnnotations(read_only_hint=True), structured_output=False
        )
        async def look(reference: str) -> str:
            await asyncio.sleep(0.05)
            return f"seen {reference}"
