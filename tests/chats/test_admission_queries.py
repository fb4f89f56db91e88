"""What asking for a model call costs: a fixed number of queries, whatever there is to count."""

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import User
from chatd.chats import runs
from chatd.chats.call_holds import admit_call
from chatd.chats.models import Chat
from chatd.providers.pricing import Prices
from chatd.spending.holds import CallToAdmit, Hold, HoldRefusedError, WorstCase
from chatd.spending.ledger import Account
from chatd.spending.ledger_models import CallKind
from tests.chats.situations import fence_of
from tests.conftest import Cast
from tests.support.spending import limit_everybody

pytestmark = pytest.mark.django_db

NewChat = Callable[..., Chat]
LIMIT = 10**9
PRICES = Prices(input=Decimal(3), output=Decimal(15))

WITHOUT_LIMIT = 4
"""The chat, locked; whether there are limits; the hold and its entry."""

WITH_OWN_LIMIT = WITHOUT_LIMIT + 2
"""The person, locked; what they spent and hold, in one statement."""

WITH_ANY_LIMIT = WITH_OWN_LIMIT + 3
"""Their organisations, their groups, and which of those have a limit."""


def admit(chat: Chat) -> Hold:
    worst = WorstCase(prices=PRICES, input_tokens=10, output_tokens=100, least_output=100)

    def wanted(account: Account) -> CallToAdmit:
        return CallToAdmit(
            account=account,
            kind=CallKind.TURN,
            model_config_id=uuid4(),
            step=chat.history_version,
            worst=worst,
            runner_id=chat.runner_id,
        )

    return admit_call(fence_of(chat), wanted)


def running(new_chat: NewChat) -> Chat:
    chat = runs.acquire(new_chat().pk, uuid4(), lease_seconds=30)
    assert chat is not None
    return chat


def queries(chat: Chat) -> int:
    """Return how many queries an admission takes, apart from those that frame transactions."""
    with CaptureQueriesContext(connection) as captured:
        admit(chat)
    statements = [query["sql"] for query in captured.captured_queries]
    return sum("SAVEPOINT" not in statement for statement in statements)


def test_an_admission_takes_a_fixed_number_of_queries(new_chat: NewChat, cast: Cast) -> None:
    chat = running(new_chat)
    assert queries(chat) == WITHOUT_LIMIT
    limit_everybody(LIMIT)
    assert queries(chat) == WITH_ANY_LIMIT
    for _ in range(20):
        admit(chat)
    assert queries(chat) == WITH_ANY_LIMIT
    User.objects.filter(pk=cast.alice.pk).update(chat_spend_limit_micros=LIMIT)
    assert queries(chat) == WITH_OWN_LIMIT


def test_a_refusal_writes_nothing(new_chat: NewChat) -> None:
    chat = running(new_chat)
    limit_everybody(1)
    with CaptureQueriesContext(connection) as captured, pytest.raises(HoldRefusedError):
        admit(chat)
    statements = [query["sql"] for query in captured.captured_queries]
    assert not [each for each in statements if each.startswith(("INSERT", "UPDATE", "DELETE"))]
