"""`manage.py check_spend`: where the books of money differ, and putting them right."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from chatd.chats import runs
from chatd.chats.books import compare_books
from chatd.chats.charges import charge_hidden_cost
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.new_messages import StepUsage
from chatd.chats.transition import lock_chat
from chatd.core.clock import now
from chatd.providers.pricing import Prices
from chatd.spending.ledger_models import LedgerEntry, OpenHold
from chatd.spending.models import SpendDay
from tests.chats.situations import answer, cost, fence_of
from tests.support.spending import check_ledger

pytestmark = pytest.mark.django_db


@pytest.fixture
def chat(new_chat: Callable[..., Chat]) -> Chat:
    """A chat with an answer of 12 micros, a title of 5, and a hold of a call under way."""
    running = runs.acquire(new_chat().pk, uuid4(), lease_seconds=30)
    assert running is not None
    usage = StepUsage(input_tokens=12)
    priced = replace(answer(), usage=usage, prices=Prices(input=Decimal(1)))
    runs.commit_step(fence_of(running), [priced])
    charge_hidden_cost(lock_chat(running.pk), cost(5))
    return running


def check(*options: str) -> str:
    out = StringIO()
    call_command("check_spend", *options, stdout=out)
    return out.getvalue()


def test_books_that_were_kept_agree(chat: Chat) -> None:
    assert compare_books() == []
    assert check() == "The books agree.\n"


def a_message_from_elsewhere(chat: Chat) -> None:
    ChatMessage.objects.create(
        chat=chat, revision=1, role=Role.ASSISTANT, content=[], total_cost_micros=30
    )


def a_message_that_is_gone(chat: Chat) -> None:
    ChatMessage.objects.filter(chat=chat, total_cost_micros=12).delete()


def a_day_that_was_changed(chat: Chat) -> None:
    SpendDay.objects.update(micros=1)


def a_day_that_is_gone(chat: Chat) -> None:
    SpendDay.objects.all().delete()


def a_hold_without_an_entry(chat: Chat) -> None:
    OpenHold.objects.create(
        id=uuid4(),
        owner_id=chat.owner_id,
        organization_id=chat.organization_id,
        chat_id=chat.pk,
        root_chat_id=chat.pk,
        micros=9,
        expires_at=now(),
    )


def a_hold_that_is_gone(chat: Chat) -> None:
    about = {"owner_id": chat.owner_id, "organization_id": chat.organization_id}
    LedgerEntry.objects.create(
        kind="hold",
        call_id=uuid4(),
        chat_id=chat.pk,
        root_chat_id=chat.pk,
        held_micros=9,
        **about,
    )


@pytest.mark.parametrize(
    ("harm", "what", "spent"),
    [
        (a_message_from_elsewhere, "spend of chat", 47),
        (a_message_that_is_gone, "spend of chat", 5),
        (a_day_that_was_changed, "spend of ", 17),
        (a_day_that_is_gone, "spend of ", 17),
        (a_hold_without_an_entry, "holds of chat", 17),
        (a_hold_that_is_gone, "holds of chat", 17),
    ],
)
def test_what_differs_is_named_and_put_right(
    chat: Chat, harm: Callable[[Chat], None], what: str, spent: int
) -> None:
    harm(chat)
    [difference] = compare_books()
    assert str(difference).startswith(what)
    with pytest.raises(CommandError, match="differ in 1 places"):
        check()
    assert "1 differences corrected.\nThe books agree.\n" in check("--repair")
    assert compare_books() == []
    assert SpendDay.objects.get().micros == spent
    assert LedgerEntry.objects.filter(note="The books did not agree.").count() == (
        0 if "day" in harm.__name__ else 1
    )


def test_the_spend_of_a_chat_that_was_purged_is_no_difference(chat: Chat) -> None:
    runs.finish(fence_of(Chat.objects.get(pk=chat.pk)))
    check_ledger(chat.pk)
    Chat.objects.filter(pk=chat.pk).delete()
    assert compare_books() == []
