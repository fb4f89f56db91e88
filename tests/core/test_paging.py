"""Lists are counted as far as somebody would turn pages."""

import pytest

from chatd.audit.models import Action, AuditEntry
from chatd.core import paging
from chatd.core.paging import BoundedPaginator

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("rows", "shown"), [(0, "0"), (5, "5"), (6, "5+"), (9, "5+")])
def test_more_than_can_be_paged_through_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, rows: int, shown: str
) -> None:
    monkeypatch.setattr(paging, "COUNTED", 5)
    AuditEntry.objects.bulk_create(
        AuditEntry(action=Action.WRITE, resource_type="chat") for _ in range(rows)
    )
    pages = BoundedPaginator(AuditEntry.objects.order_by("-at"), 2)
    assert f"{pages.count}" == shown
    assert pages.num_pages == (3 if rows else 1)
    assert len(pages.page(1).object_list) == min(rows, 2)


def test_a_list_in_memory_is_counted_whole() -> None:
    assert BoundedPaginator(list(range(7)), 2).count == 7
