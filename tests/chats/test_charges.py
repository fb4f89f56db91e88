"""What each end of a model call does to the hold it took, and what it is charged."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from chatd.chats import retention, runs, states
from chatd.chats.call_holds import admit_call, end_failed_call
from chatd.chats.charges import charge_hidden_cost
from chatd.chats.models import Chat, ChatMessage, Status
from chatd.chats.new_messages import NewMessage, StepUsage
from chatd.chats.open_steps import CallState, OpenCall
from chatd.chats.partial import read_partial
from chatd.chats.transition import lock_chat
from chatd.core.clock import now
from chatd.live.messages import Episode, PartEntry, encode
from chatd.providers.models import ModelConfig
from chatd.providers.prices import set_prices
from chatd.providers.pricing import Prices
from chatd.spending.holds import CallToAdmit, Hold, WorstCase
from chatd.spending.ledger import Account
from chatd.spending.ledger_models import CallKind, LedgerEntry, OpenHold
from chatd.spending.models import SpendDay
from tests.chats.recorder import Recorder, run_now
from tests.chats.situations import answer, call_part, cost, fence_of, result_of
from tests.support.people import user_content
from tests.support.spending import check_ledger

pytestmark = pytest.mark.django_db

PRICES = Prices(input=Decimal(2), output=Decimal(10))
WORST = WorstCase(prices=PRICES, input_tokens=400, output_tokens=100, least_output=10)
HELD = 400 * 2 + 100 * 10

NewChat = Callable[..., Chat]


@pytest.fixture
def chat(new_chat: NewChat, model: ModelConfig) -> Chat:
    """A chat whose turn runs."""
    set_prices(model.pk, PRICES, by=None)
    made = runs.acquire(new_chat().pk, uuid4(), lease_seconds=30)
    assert made is not None
    return made


def admit(chat: Chat) -> Hold:
    def call(account: Account) -> CallToAdmit:
        return CallToAdmit(
            account=account,
            kind=CallKind.TURN,
            model_config_id=chat.last_model_config_id,
            step=chat.history_version,
            worst=WORST,
            runner_id=chat.runner_id,
        )

    return admit_call(fence_of(chat), call)


def paid(hold: Hold, *parts: Any, tokens: tuple[int, int] = (50, 7)) -> NewMessage:
    usage = StepUsage(input_tokens=tokens[0], output_tokens=tokens[1])
    return replace(answer(*parts), usage=usage, prices=PRICES, hold_id=hold.id)


def stream(recorder: Recorder, chat: Chat, *texts: str) -> None:
    episode = Episode(chat.history_version, chat.attempt)
    for seq, text in enumerate(texts, start=1):
        part = {"role": "assistant", "part": {"type": "text", "text": text}}
        entry = PartEntry(episode=episode, seq=seq, parts=[msgspec.Raw(encode(part))])
        run_now(recorder.append(chat.pk, entry))


def entries(chat: Chat) -> list[tuple[str, int, int]]:
    """Return kind, held and settled of the entries, and check that all books agree."""
    check_ledger(chat.pk)
    found = LedgerEntry.objects.filter(chat_id=chat.pk).order_by("pk")
    return [(str(entry.kind), entry.held_micros, entry.settled_micros) for entry in found]


def hidden(chat: Chat) -> list[ChatMessage]:
    return list(ChatMessage.objects.filter(chat=chat, deleted=True, content=[]))


def test_an_answer_settles_its_call_and_gives_back_the_rest(chat: Chat) -> None:
    message = replace(paid(admit(chat)), model_config_id=chat.last_model_config_id)
    runs.finish(fence_of(chat), [message])
    assert entries(chat) == [
        ("hold", HELD, 0),
        ("settle", -170, 170),
        ("release", 170 - HELD, 0),
    ]
    assert not OpenHold.objects.exists()
    settle = LedgerEntry.objects.get(kind="settle")
    message = ChatMessage.objects.get(total_cost_micros=170)
    assert (settle.message_id, settle.call_kind, settle.is_estimated) == (message.pk, "turn", False)
    assert (settle.owner_id, settle.organization_id) == (chat.owner_id, chat.organization_id)
    assert (settle.root_chat_id, settle.model_config_id) == (chat.pk, chat.last_model_config_id)
    assert settle.step == chat.history_version
    assert settle.created_at == message.created_at


def test_a_call_of_a_sub_chat_is_of_its_root(new_chat: NewChat) -> None:
    root = new_chat()
    sub = new_chat()
    Chat.objects.filter(pk=sub.pk).update(parent_chat=root, root_chat=root)
    charge_hidden_cost(lock_chat(sub.pk), cost())
    assert LedgerEntry.objects.get().root_chat_id == root.pk


def test_a_call_that_costs_more_than_was_held_is_charged_all_the_same(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    runs.finish(fence_of(chat), [paid(admit(chat), tokens=(400, 200))])
    assert entries(chat) == [("hold", HELD, 0), ("settle", -HELD, 2800)]
    assert LedgerEntry.objects.get(kind="settle").is_overrun
    assert "a call cost more than was held for it" in caplog.text


def test_what_has_no_price_is_told_of_and_costs_nothing(chat: Chat) -> None:
    usage = StepUsage(input_tokens=3, output_tokens=1)
    runs.finish(fence_of(chat), [replace(answer(), usage=usage)])
    assert entries(chat) == [("settle", 0, 0)]
    assert not LedgerEntry.objects.get().is_priced


def test_an_answer_of_which_nothing_is_known_makes_no_entry(chat: Chat) -> None:
    runs.finish(fence_of(chat), [answer()])
    assert entries(chat) == []


def test_a_call_that_said_nothing_is_charged_in_a_hidden_row(chat: Chat) -> None:
    runs.finish(fence_of(chat), [], replace(paid(admit(chat)), content=[]))
    assert [kind for kind, *_ in entries(chat)] == ["hold", "settle", "release"]
    assert [row.total_cost_micros for row in hidden(chat)] == [170]


def test_while_tools_run_no_more_is_held_than_the_call_cost(chat: Chat) -> None:
    message = paid(admit(chat), call := call_part("built_in"))
    step = [OpenCall(call=call, state=CallState.BEGUN)]
    runs.open_step(fence_of(chat), message, step)
    assert OpenHold.objects.get().micros == 170
    assert entries(chat) == [("hold", HELD, 0), ("release", 170 - HELD, 0)]
    runs.commit_step(fence_of(chat), [message, result_of(call)])
    assert entries(chat)[2:] == [("settle", -170, 170)]


@pytest.mark.parametrize("ending", ["edit", "interrupt", "recover", "release", "fail"])
def test_a_step_whose_tools_were_running_is_charged_once_whoever_ends_it(
    chat: Chat, recorder: Recorder, ending: str
) -> None:
    message = paid(admit(chat), call := call_part("built_in"))
    stream(recorder, chat, "an answer")
    runs.open_step(fence_of(chat), message, [OpenCall(call=call, state=CallState.BEGUN)])
    end_turn(chat, ending)
    assert entries(chat)[2:] == [("settle", -170, 170)]
    assert not LedgerEntry.objects.filter(is_estimated=True).exists()
    assert len(hidden(chat)) == (1 if ending == "edit" else 0)


def end_turn(chat: Chat, ending: str) -> None:
    partial = read_partial(chat)
    match ending:
        case "edit":
            asked = ChatMessage.objects.get(chat=chat, role="user", visibility="both")
            message = user_content(chat.owner_id, "edited")
            states.edit_message(chat.pk, asked.pk, message, partial=partial)
        case "interrupt":
            states.interrupt(chat.pk, partial=partial)
        case "send":
            message = user_content(chat.owner_id, "stop")
            states.send_message(chat.pk, message, interrupt=True, partial=partial)
        case "archive":
            assert partial is not None
            states.archive_chat(chat.pk, partials={chat.pk: partial})
        case "recover":
            Chat.objects.filter(pk=chat.pk).update(lease_expires_at=now() - timedelta(seconds=1))
            assert runs.recover(chat.pk)
        case "release":
            assert chat.runner_id is not None
            assert runs.release(chat.pk, chat.runner_id)
        case "fail":
            runs.fail(fence_of(chat), {"message": "broken", "kind": "generic"})


CUT_OFF = ["edit", "interrupt", "send", "archive", "recover", "release", "fail"]


@pytest.mark.parametrize("ending", CUT_OFF)
def test_a_call_that_is_cut_off_is_charged_for_what_was_streamed(
    chat: Chat, recorder: Recorder, ending: str
) -> None:
    admit(chat)
    stream(recorder, chat, "twelve bytes", "x")
    end_turn(chat, ending)
    # 400 bytes of input and 13 of output, four to a token
    [settled, released] = entries(chat)[1:]
    assert settled == ("settle", -(100 * 2 + 4 * 10), 240)
    assert released == ("release", 240 - HELD, 0)
    [row] = hidden(chat)
    assert (row.input_tokens, row.output_tokens, row.total_cost_micros) == (100, 4, 240)
    assert LedgerEntry.objects.get(kind="settle").is_estimated


@pytest.mark.parametrize("ending", CUT_OFF)
def test_a_call_that_streamed_nothing_is_charged_nothing(chat: Chat, ending: str) -> None:
    admit(chat)
    end_turn(chat, ending)
    assert entries(chat) == [("hold", HELD, 0), ("release", -HELD, 0)]
    assert hidden(chat) == []


def test_what_is_cut_off_never_costs_more_than_was_held(chat: Chat, recorder: Recorder) -> None:
    admit(chat)
    stream(recorder, chat, "x" * 4000)
    end_turn(chat, "interrupt")
    assert entries(chat)[1:] == [("settle", -HELD, HELD)]


def test_the_price_of_the_time_of_the_call_holds(chat: Chat, recorder: Recorder) -> None:
    admit(chat)
    set_prices(chat.last_model_config_id, Prices(input=Decimal(99)), by=None)
    stream(recorder, chat, "four")
    end_turn(chat, "interrupt")
    assert entries(chat)[1] == ("settle", -210, 210)


@pytest.mark.parametrize(("written", "charged"), [(0, []), (8, [220])])
def test_an_attempt_that_failed_is_charged_for_what_it_wrote(
    chat: Chat, written: int, charged: list[int]
) -> None:
    hold = admit(chat)
    assert hold.id is not None
    end_failed_call(fence_of(chat), hold.id, written)
    assert [row.total_cost_micros for row in hidden(chat)] == charged
    assert not OpenHold.objects.exists()
    end_failed_call(fence_of(chat), hold.id, written)
    assert len(entries(chat)) == (3 if charged else 2)


def test_a_runner_that_lost_the_chat_admits_no_call(chat: Chat) -> None:
    stale = chat
    end_turn(chat, "interrupt")
    with pytest.raises(runs.StateConflictError):
        admit(stale)
    assert entries(chat) == []


def test_spend_outlives_the_chat(chat: Chat) -> None:
    runs.finish(fence_of(chat), [paid(admit(chat))])
    states.archive_chat(chat.pk)
    Chat.objects.filter(pk=chat.pk).update(updated_at=now() - timedelta(days=40))
    assert retention.purge_chats(now() - timedelta(days=30))
    assert not Chat.objects.filter(pk=chat.pk).exists()
    assert sum(LedgerEntry.objects.values_list("settled_micros", flat=True)) == 170
    assert SpendDay.objects.get().micros == 170


@pytest.mark.parametrize("status", [Status.WAITING, Status.ERROR])
def test_a_hidden_cost_is_charged_whatever_the_chat_does(
    chat: Chat, status: Status, new_chat: NewChat
) -> None:
    Chat.objects.filter(pk=chat.pk).update(
        status=status,
        runner_id=None,
        lease_expires_at=None,
        started_at=None,
        last_error={"message": "x"} if status == Status.ERROR else None,
    )
    title = replace(cost(9), call_kind=CallKind.TITLE)
    charge_hidden_cost(lock_chat(chat.pk), title)
    assert entries(chat) == [("settle", 0, 9)]
    assert LedgerEntry.objects.get().call_kind == CallKind.TITLE


def test_the_ledger_can_only_be_added_to(chat: Chat) -> None:
    charge_hidden_cost(lock_chat(chat.pk), cost())
    entry = LedgerEntry.objects.get()
    for change in (
        lambda: LedgerEntry.objects.update(settled_micros=1),
        lambda: LedgerEntry.objects.all().delete(),
        entry.save,
        entry.delete,
    ):
        with pytest.raises(TypeError, match="append-only"):
            change()


def test_no_id_of_a_call_stands_for_two(chat: Chat) -> None:
    ids = set()
    for _ in range(3):
        charge_hidden_cost(lock_chat(chat.pk), cost())
    ids.update(LedgerEntry.objects.values_list("call_id", flat=True))
    assert len(ids) == 3
    assert UUID(int=0) not in ids
