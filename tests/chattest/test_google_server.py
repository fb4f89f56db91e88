"""The fake Gemini server refuses what the API refuses."""

from typing import Any

import pytest

from chatd.chattest.google_rules import SKIP_SIGNATURE, Rules

CALL = {"functionCall": {"id": "a", "name": "f", "args": {}}}
RESPONSE = {"functionResponse": {"id": "a", "name": "f", "response": {}}}
HI = {"role": "user", "parts": [{"text": "Hi"}]}
NEW = "gemini-3-pro-preview"


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "parts": list(parts)}


def declared(schema: Any) -> dict[str, Any]:
    return {"contents": [HI], "tools": [{"functionDeclarations": [{"parameters": schema}]}]}


def signed(signature: str, part: Any = CALL) -> Any:
    return {**part, "thoughtSignature": signature}


def complaint(body: Any, name: str = "gemini-2.5-flash", **issued: Any) -> str:
    rules = Rules()
    rules.issued.update(issued)
    return rules.complaint(name, body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"contents": [HI], "mystery": 1}, 'Unknown name "mystery"'),
        ({"contents": [{**HI, "x": 1}]}, "Unknown name \"x\" at 'contents[0]'"),
        (declared({"type": "STRING", "const": 1}), 'Unknown name "const"'),
        (declared({"type": "string"}), "must be specified"),
        (declared({"type": "ARRAY"}), "items: missing field"),
        (declared({"type": "OBJECT", "properties": {}}), "should be non-empty"),
        (declared({"type": "OBJECT", "required": ["a"]}), "property is not defined"),
        (declared({"type": "INTEGER", "enum": ["1"]}), "only allowed for STRING"),
        (declared({"type": "STRING", "format": "uri"}), "only 'enum' and 'date-time'"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [HI, HI]}, "alternate"),
        ({"contents": [model({"text": "a"}), HI]}, "alternate"),
        ({"contents": [HI, model({"text": "a"})]}, "end with a user role"),
        ({"contents": [user()]}, "must not be empty"),
        ({"contents": [user({"text": ""})]}, "must have a text parameter"),
        ({"contents": [user({"text": "a", "inlineData": {}})]}, "required oneof field"),
        ({"contents": [{"role": "tool", "parts": [{"text": "a"}]}]}, "valid role"),
        ({"contents": [HI, model(CALL), HI]}, "equal to the number of function call parts"),
        ({"contents": [user(RESPONSE)]}, "immediately after a function call turn"),
        ({"contents": [HI, model(CALL), user({"text": "a"}, RESPONSE)]}, "come first"),
        (
            {"contents": [HI, model({"toolCall": {"id": "a"}}), HI]},
            "every tool call has its tool response",
        ),
        ({"contents": [HI, model(signed("x")), user(RESPONSE)]}, "signature is not valid"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_the_words_of_the_api(body: Any, words: str) -> None:
    assert words in complaint(body)


def test_a_signature_belongs_to_its_part() -> None:
    body = {"contents": [HI, model(signed("s")), user(RESPONSE)]}
    other = {"functionCall": {"name": "f", "args": {"a": 1}}}
    without_id = {"functionCall": {"name": "f", "args": {}}}
    assert complaint(body, s=signed("s", without_id)) == ""
    assert "Corrupted" in complaint(body, s=signed("s", other))


def test_gemini_3_wants_the_first_call_of_each_step_of_the_turn_signed() -> None:
    first, second = CALL, {"functionCall": {**CALL["functionCall"], "id": "b"}}
    answers = user(RESPONSE, {"functionResponse": {**RESPONSE["functionResponse"], "id": "b"}})
    unsigned = [HI, model(first, second), answers]
    assert complaint({"contents": unsigned}) == ""
    assert "missing a thought_signature" in complaint({"contents": unsigned}, NEW)
    assert complaint({"contents": [*unsigned, model({"text": "a"}), HI]}, NEW) == ""
    marked = [HI, model(signed(SKIP_SIGNATURE, first), second), answers]
    assert complaint({"contents": marked}, NEW) == ""


def test_what_excludes_each_other_is_refused() -> None:
    functions = {"functionDeclarations": [{"name": "f"}]}
    both = {"contents": [HI], "tools": [functions, {"googleSearch": {}}]}
    assert "unsupported by the model" in complaint(both)
    assert "include_server_side_tool_invocations" in complaint(both, NEW)
    told = {**both, "toolConfig": {"includeServerSideToolInvocations": True}}
    assert complaint(told, NEW) == ""
    cached = {"contents": [HI], "cachedContent": "x", "tools": [functions]}
    assert "CachedContent" in complaint(cached)
    instructed = {"contents": [HI], "systemInstruction": {"parts": [{"text": "a"}]}}
    assert complaint(instructed) == ""
    assert "Developer instruction is not enabled" in complaint(instructed, "gemma-3-27b-it")
