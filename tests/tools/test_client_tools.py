"""Tools that clients declare, as the model gets them."""

from typing import Any
from uuid import uuid4

import pytest

from chatd.tools.client_tools import client_tools
from chatd.tools.registry import TurnContext, open_toolset

DECLARED = ({"name": "ask_browser"},)


def test_client_tools_with_an_unusable_schema_take_no_parameters() -> None:
    declared = [
        {"name": "a", "description": "", "input_schema": "nonsense"},
        {"name": "b", "input_schema": {"properties": {"x": {}}, "required": ["x"], "other": 1}},
        {"name": "c", "input_schema": {"properties": [], "required": []}},
    ]
    assert [dict(tool.parameters) for tool in client_tools(declared)] == [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"x": {}}, "required": ["x"]},
        {"type": "object", "properties": {}},
    ]


@pytest.mark.parametrize(
    ("turn", "offered"),
    [
        ({}, ["ask_browser"]),
        ({"plan_mode": "plan"}, []),
        ({"mode": "explore"}, []),
        ({"mode": "explore", "plan_mode": "plan"}, []),
        ({"mode": "computer_use"}, ["ask_browser"]),
    ],
)
async def test_client_tools_are_offered_to_turns_that_may_act(
    turn: dict[str, Any], offered: list[str]
) -> None:
    someone = {"chat_id": uuid4(), "owner_id": uuid4(), "organization_id": uuid4()}
    context = TurnContext(**someone, dynamic_tools=DECLARED, **turn)
    async with open_toolset(context, sources=()) as toolset:
        assert [tool.name for tool in toolset.specs] == offered
        assert list(toolset.of_client) == offered
