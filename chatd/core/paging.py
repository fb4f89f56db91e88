"""Pages of long lists: they are counted as far as somebody would turn pages, and no further."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

COUNTED = 10_000


class _AndMore(int):
    """A number of rows that says that there are more."""

    def __str__(self) -> str:
        return f"{int(self):,}+"


class BoundedPaginator(Paginator[Any]):
    """Pages of the first 10,000 rows: a list costs the same however long it grows."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        found = rows.order_by()[: COUNTED + 1].count()
        return found if found <= COUNTED else _AndMore(COUNTED)
