"""Which answers are labels, and what a model is told for one."""

import pytest

from chatd.turns.label_text import MAX_ANSWER, label_request, read_label


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ('{"label": "Fixed login redirect"}', "Fixed login redirect"),
        ('```json\n{"label": "Fixed login redirect"}\n```', "Fixed login redirect"),
        ("Fixed login redirect.", "Fixed login redirect"),
        ("  “Needs a password!”  ", "Needs a password"),
        ("Two words", "Two words"),
        ("One two three four five", "One two three four five"),
        ("Item list sorted", "Item list sorted"),
        ("Theory test passed", "Theory test passed"),
        ("Weekly plan written", "Weekly plan written"),
        ("Updated v1.2 notes", "Updated v1.2 notes"),
        ("Set up the agent", "Set up the agent"),
    ],
)
def test_these_are_labels(answer: str, label: str) -> None:
    assert read_label(answer) == label


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Done",
        "One two three four five six",
        "Fixed login\nand redirect",
        "Fixed it. Tests pass",
        "Really fixed? Tests pass",
        "I fixed the login",
        "I'm done here",
        "it works now",
        "It's working now",
        "The login is fixed",
        "We fixed the login",
        "Agent fixed the login",
        "agent: login fixed",
        "Question the agent asked",
        "What Agent Found here",
        "Bug agent identified today",
        "Why agent explained it",
        '{"label": 5}',
        '{"title": "Fixed login redirect"}',
        '{"label": "Fixed login',
        "Fixed " + "x" * 80,
    ],
)
def test_these_are_none(answer: str) -> None:
    assert read_label(answer) == ""


def test_what_is_told_has_bounds() -> None:
    request = label_request("A chat", "a" * 9000)
    system, user = request.messages
    assert "The title of the chat:\nA chat" in system.text  # type: ignore[union-attr]
    assert len(user.blocks[0].text) == MAX_ANSWER  # type: ignore[union-attr]
    assert request.max_output_tokens == 64
    assert request.output is not None
    assert request.output.name == "propose_turn_status_label"
