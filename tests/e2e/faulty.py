"""A product whose models fail as tests say, and followers of the chats that ask them."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from chatd.chattest import faults
from chatd.chattest.openai import OpenAIHandler
from tests.e2e.provider import ScriptedProvider, held_until
from tests.support.client import Client, Follower
from tests.support.product import Product, embedded

KEY = "secret-of-the-fault-tests-0123456789"
NAME = "Faulty"
KIND = "openai-compat"
FIRST_DELAY_MS, MAX_DELAY_MS = 10, 40

_SPOIL = """
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import ModelConfig
config = ModelConfig.objects.get(pk={disabled_model!r})
config.enabled = False
save_model_config(config)
provider = ModelConfig.objects.get(pk={disabled_provider!r}).ai_provider
provider.enabled = False
save_provider(provider)
"""

_MODELS = ("scripted", "refusing", "keyless", "disabled_model", "disabled_provider")
_numbers = itertools.count()


class FaultyProduct:
    """A running product. `models`: scripted, refusing (a closed port), some not to be called."""

    def __init__(
        self, product: Product, provider: ScriptedProvider, models: dict[str, str]
    ) -> None:
        self.product = product
        self.provider = provider
        self.models = models
        self.client: Client = product.client(product.processes[0])


class Asking:
    """The chats of one test."""

    def __init__(self, faulty: FaultyProduct) -> None:
        self._faulty = faulty
        self._followers = ExitStack()
        self._prompts: dict[str, str] = {}

    def __call__(self, handler: OpenAIHandler | None, model: str = "scripted") -> Follower:
        """Ask a model that does what the handler says, not before somebody follows."""
        prompt = f"question {next(_numbers)}"
        followed = threading.Event()
        if handler is not None:
            self._faulty.provider.on(prompt, held_until(followed, handler))
        client = self._faulty.client
        chat = client.create_chat(prompt, model=self._faulty.models[model])
        self._prompts[chat["id"]] = prompt
        follower = self.join(chat["id"])
        followed.set()
        return follower

    def join(self, chat_id: str) -> Follower:
        """Return one more follower of a chat, who has read the snapshot."""
        follower = self._followers.enter_context(self._faulty.client.follow(chat_id))
        return follower.wait(lambda f: "message:user" in f.kinds(), "a snapshot")

    def calls(self, follower: Follower) -> int:
        """Return how often the provider was called for a chat."""
        return len(self._faulty.provider.requests_for(self._prompts[follower.chat_id]))

    def ended(self, follower: Follower, seconds: float = 30) -> dict[str, Any]:
        """Wait for the error and return it; every place must tell the same."""
        client = self._faulty.client
        follower.wait_for_status("error", seconds=seconds)
        chat = client.chat(follower.chat_id)
        assert chat["status"] == "error"
        error: dict[str, Any] = chat["last_error"]
        if follower.statuses[0] != "error":  # who came after the end reads it from the chat
            assert follower.errors == [error]
            kinds = follower.kinds()
            assert kinds.index("error") < kinds.index("status:error")
        return error

    def close(self) -> None:
        self._followers.close()


@contextmanager
def faulty_product(*, silence_seconds: float = 60) -> Iterator[FaultyProduct]:
    """Yield a product with short pauses between tries."""
    with (
        ScriptedProvider() as provider,
        faults.refuse() as closed,
        embedded(
            CHATD_RETRY_FIRST_DELAY_SECONDS=str(FIRST_DELAY_MS / 1000),
            CHATD_RETRY_MAX_DELAY_SECONDS=str(MAX_DELAY_MS / 1000),
            CHATD_STREAM_SILENCE_SECONDS=str(silence_seconds),
            CHATD_LOG_LEVEL="DEBUG",
            CHATD_API_RATE_LIMIT="0",
        ) as product,
    ):
        product.up()
        rows = [
            {
                "base_url": closed if name == "refusing" else provider.base_url,
                "kind": "openai" if name == "keyless" else KIND,
                "display_name": NAME,
                "key": "" if name == "keyless" else KEY,
                "is_default": name == "scripted",
            }
            for name in _MODELS
        ]
        models = dict(zip(_MODELS, product.add_models(*rows), strict=True))
        product.shell(_SPOIL.format(**models))
        yield FaultyProduct(product, provider, models)
