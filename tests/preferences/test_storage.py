"""Settings in the database: a change holds at once everywhere, and is told to other programs."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from chatd.accounts.actor import Actor
from chatd.audit.actions import Author
from chatd.audit.models import AuditEntry
from chatd.core.ids import NIL_UUID
from chatd.live.backend import live_backend
from chatd.live.messages import ConfigNotice, Notice
from chatd.preferences.actions import (
    change_setting,
    forget_personal,
    store_personal,
    store_settings,
)
from chatd.preferences.codecs import Advisor
from chatd.preferences.models import SiteSetting, UserSetting
from chatd.preferences.registry import (
    ADVISOR,
    AUTO_ARCHIVE_DAYS,
    CUSTOM_PROMPT,
    DESKTOP_ENABLED,
    RETENTION_DAYS,
)
from chatd.preferences.selectors import (
    personal_value,
    personal_values,
    site_value,
    site_values,
)
from tests.conftest import Cast

CHATD = Author(None, "a test")


def elsewhere(work: Callable[[], Any]) -> Any:
    """Do something on a thread with a connection of its own, as another process would."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.django_db(transaction=True)
def test_a_change_holds_at_once_in_every_process() -> None:
    for days in (1, 2):
        elsewhere(lambda value=days: store_settings(CHATD, [RETENTION_DAYS.to(value)]))
        assert site_value(RETENTION_DAYS) == days
        assert elsewhere(lambda: site_value(RETENTION_DAYS)) == days


@pytest.mark.django_db(transaction=True)
def test_many_who_change_a_setting_at_once_leave_one_value() -> None:
    begin = threading.Barrier(4)
    failures: list[BaseException] = []

    def change(days: int) -> None:
        try:
            begin.wait()
            store_settings(CHATD, [RETENTION_DAYS.to(days), AUTO_ARCHIVE_DAYS.to(days)])
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=change, args=[days]) for days in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert SiteSetting.objects.count() == 2
    values = site_values(RETENTION_DAYS, AUTO_ARCHIVE_DAYS)
    assert values[RETENTION_DAYS] == values[AUTO_ARCHIVE_DAYS] > 0


@pytest.mark.django_db
def test_several_settings_are_read_in_one_query(cast: Cast, django_assert_num_queries) -> None:
    store_settings(CHATD, [RETENTION_DAYS.to(5), DESKTOP_ENABLED.to(True)])
    store_personal(cast.alice, CUSTOM_PROMPT.to("x"))
    with django_assert_num_queries(1):
        values = site_values(RETENTION_DAYS, DESKTOP_ENABLED, AUTO_ARCHIVE_DAYS)
    assert (values[RETENTION_DAYS], values[DESKTOP_ENABLED]) == (5, True)
    assert not values.stored(AUTO_ARCHIVE_DAYS).is_set
    with django_assert_num_queries(1):
        assert personal_values(cast.alice.pk, CUSTOM_PROMPT)[CUSTOM_PROMPT] == "x"


@pytest.mark.django_db
def test_a_refused_value_changes_nothing(cast: Cast) -> None:
    def nonsense() -> int:
        raise RuntimeError("nonsense")

    with pytest.raises(RuntimeError):
        change_setting(Actor(cast.root), RETENTION_DAYS, nonsense)
    assert not SiteSetting.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db
def test_what_somebody_stored_belongs_to_them_alone(cast: Cast) -> None:
    store_personal(cast.alice, CUSTOM_PROMPT.to("of alice"))
    store_personal(cast.bob, CUSTOM_PROMPT.to("of bob"))
    store_personal(cast.alice, CUSTOM_PROMPT.to("new"))
    assert personal_value(cast.alice.pk, CUSTOM_PROMPT) == "new"
    assert personal_value(cast.bob.pk, CUSTOM_PROMPT) == "of bob"
    for _ in range(2):
        forget_personal(cast.alice, CUSTOM_PROMPT)
    assert personal_value(cast.alice.pk, CUSTOM_PROMPT) == ""
    assert UserSetting.objects.count() == 1
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_other_programs_are_told_of_what_they_may_have_read(cast: Cast, monkeypatch) -> None:
    rung: list[Notice] = []
    monkeypatch.setattr(live_backend(), "publish", rung.extend)
    store_personal(cast.alice, CUSTOM_PROMPT.to("x"))
    store_settings(CHATD, [ADVISOR.to(Advisor(enabled=True)), RETENTION_DAYS.to(1)])
    assert rung == [
        ConfigNotice("user_prompt", cast.alice.pk),
        ConfigNotice("advisor_config", NIL_UUID),
    ]
