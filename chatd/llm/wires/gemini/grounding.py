"""What a search of Google's own found: grounding metadata as a call, its result and sources."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from chatd.llm.types import Event, Source, ToolCall, ToolCallDelta, ToolResult
from chatd.llm.wires.decoding import is_object

WEB_SEARCH = "web_search"
MAX_SOURCES = 1000


class Search:
    """Collects what the events of an answer say of its search; the same is often said again.

    `is_told`: the answer has calls of the search itself, so that none is made up for it. The call
    and its result are for people; Google does not take them back.
    """

    def __init__(self) -> None:
        self.is_told = False
        self._queries: dict[str, None] = {}
        self._titles: dict[str, str] = {}

    def add(self, grounding: Any) -> None:
        """Take the grounding metadata of one event."""
        if not is_object(grounding):
            return
        for query in _listed(grounding, "webSearchQueries"):
            if isinstance(query, str) and query and len(self._queries) < MAX_SOURCES:
                self._queries[query] = None
        for chunk in _listed(grounding, "groundingChunks"):
            web = chunk.get("web") if is_object(chunk) else None
            url = web.get("uri") if is_object(web) else None
            if isinstance(url, str) and url and len(self._titles) < MAX_SOURCES:
                title = web.get("title") if is_object(web) else None
                self._titles.setdefault(url, title if isinstance(title, str) else "")

    def events(self, new_id: Callable[[], str]) -> Iterator[Event]:
        """Yield the search, if there was one, and its sources."""
        if (self._queries or self._titles) and not self.is_told:
            yield from self._call(new_id())
        for number, (url, title) in enumerate(self._titles.items(), start=1):
            yield Source(id=f"source_{number}", url=url, title=title)

    def _call(self, call_id: str) -> Iterator[Event]:
        arguments = msgspec.json.encode({"queries": list(self._queries)}).decode()
        found = [{"url": url, "title": title} for url, title in self._titles.items()]
        yield ToolCallDelta(
            id=call_id, name=WEB_SEARCH, arguments_delta=arguments, provider_executed=True
        )
        yield ToolCall(id=call_id, name=WEB_SEARCH, arguments=arguments, provider_executed=True)
        yield ToolResult(call_id=call_id, name=WEB_SEARCH, output={"sources": found})


def _listed(grounding: dict[str, Any], name: str) -> list[Any]:
    found = grounding.get(name)
    return found if isinstance(found, list) else []
