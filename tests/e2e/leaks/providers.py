"""Model providers and their keys, rightly and wrongly, by the API and by forms; and turns."""

from chatd.chattest import faults
from tests.e2e.leaks.evidence import Secrets
from tests.e2e.leaks.visitor import Visitor
from tests.e2e.provider import ScriptedProvider
from tests.support.product import Product

V2, CHATS = "/api/v2", "/api/experimental/chats"


def use_providers(root: Visitor, provider: ScriptedProvider, secrets: Secrets) -> None:
    """Put every key where it belongs, and some where they do not."""
    url = provider.base_url
    first = {
        "type": "openai-compat",
        "name": "first",
        "base_url": url,
        "enabled": True,
        "api_keys": [secrets.plant("provider key")],
    }
    made = root.api("POST", f"{V2}/ai/providers", first)
    here = f"{V2}/ai/providers/{made['id']}"
    second = {"api_key": secrets.plant("second provider key")}
    root.api("PATCH", here, {"api_keys": [{"id": made["api_keys"][0]["id"]}, second]})
    wrong = secrets.plant("refused provider key")
    for body in (
        {"api_keys": [f" {wrong} "]},
        {"api_keys": wrong},
        {"api_keys": [{"api_key": wrong, "id": wrong}]},
        {"type": wrong, "name": wrong, "base_url": f"http://{wrong}:{wrong}@h/"},
    ):
        root.api("PATCH", here, body)
        root.api("POST", f"{V2}/ai/providers", {"name": "x", "type": "openai", **body})
    tried = secrets.plant("tried provider key")
    provider.on("try", faults.http_error(401, {"error": {"message": tried}}))
    body = {"type": "openai", "base_url": url, "api_keys": [tried]}
    root.api("POST", f"{V2}/ai/providers/test", body)
    _use_other_kinds(root, url, secrets)
    own, key = f"{V2}/users/me/ai-provider-keys/{made['id']}", secrets.plant("own key")
    root.api("PUT", own, {"api_key": key})
    root.api("PUT", own, {"api_key": f"{key} "})
    model = {"ai_provider_id": made["id"], "model": "m", "context_limit": 1000, "is_default": True}
    root.api("POST", f"{CHATS}/model-configs", model)


def _use_other_kinds(root: Visitor, url: str, secrets: Secrets) -> None:
    settings = {
        "_type": "bedrock",
        "_version": 1,
        "region": "eu-central-1",
        "access_key": secrets.plant("bedrock access key"),
        "access_key_secret": secrets.plant("bedrock secret"),
    }
    aws = {"type": "bedrock", "name": "aws", "base_url": "https://aws.example"}
    root.api("POST", f"{V2}/ai/providers", {**aws, "settings": settings})
    older = {"provider": "anthropic", "base_url": url}
    key = secrets.plant("older provider key")
    root.api("POST", f"{CHATS}/providers", {**older, "api_key": key})


def use_provider_forms(root: Visitor, provider: ScriptedProvider, secrets: Secrets) -> None:
    form = {
        "type": "openai",
        "name": "by-form",
        "base_url": provider.base_url,
        "central_api_key_enabled": "on",
        "new_key": secrets.plant("form provider key"),
    }
    add = "/admin/providers/aiprovider/add/?type=openai"
    root.submit(add, {**form, "name": "Not A Name"})
    root.submit(add, {**form, "_test": "1"})
    root.submit(add, form)


def take_turns(
    root: Visitor, product: Product, provider: ScriptedProvider, secrets: Secrets
) -> None:
    """Have one turn succeed, and one fail with the key in the provider's answer."""
    (key,) = secrets.texts["provider key"]
    provider.on("fail", faults.http_error(401, {"error": {"message": f"Bad key {key}"}}))
    client = product.client(root.web)
    for prompt in ("hello", "fail"):
        chat = client.create_chat(prompt)
        with client.follow(chat["id"]) as follower:
            follower.wait_for_status("waiting", "error")
    root.seen |= {f"client {n}": body.decode() for n, body in enumerate(client.bodies)}
