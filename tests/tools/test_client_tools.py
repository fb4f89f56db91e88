"""Tools that clients declare, as the model gets them."""

from chatd.tools.client_tools import client_tools


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
