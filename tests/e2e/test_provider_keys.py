"""Whose key a turn is called with, on the whole product, from one turn to the next."""

from uuid import uuid4

from tests.e2e.provider import ScriptedProvider, answer
from tests.support.client import Client
from tests.support.product import Product

RUNS_ON = "embedded"
SHARED, NEXT, OWN = "shared-key-0123456789", "next-shared-key-0123", "own-key-0123456789"


def test_a_turn_uses_the_key_there_is_now_and_says_when_there_is_none(
    client: Client, product: Product, provider: ScriptedProvider
):
    words = f"with which key {uuid4()}"
    provider.on(words, answer("An answer."))
    row = {"kind": "openai", "name": f"keys-{uuid4().hex[:8]}", "key": SHARED}
    (model_id,) = product.add_models({"base_url": provider.base_url, **row})
    path = f"/api/v2/ai/providers/{row['name']}"
    provider_id = client.call("GET", path)["id"]
    own = f"/api/experimental/users/me/ai-provider-keys/{provider_id}"

    def key_of_a_turn() -> str:
        before = len(provider.requests)
        chat = client.create_chat(words, model=model_id)
        with client.follow(chat["id"]) as follower:
            follower.wait_for_status("waiting")
        (request,) = provider.requests[before:]
        return request.headers["Authorization"].removeprefix("Bearer ")

    assert key_of_a_turn() == SHARED
    client.call("PATCH", path, {"api_keys": [{"api_key": NEXT}]})
    assert key_of_a_turn() == NEXT
    client.call("PUT", own, {"api_key": OWN})
    assert key_of_a_turn() == OWN
    client.call("DELETE", own, expect=204)
    client.call("PATCH", path, {"api_keys": []})
    asked = len(provider.requests)
    chat = client.create_chat(words, model=model_id)
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("error")
    error = client.chat(chat["id"])["last_error"]
    assert (error["kind"], error["retryable"]) == ("missing_key", False)
    assert "needs an API key of your own" in error["message"]
    assert len(provider.requests) == asked
