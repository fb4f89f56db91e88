"""Random requests made from the OpenAPI document: whatever is asked, the answer is documented.

CHATD_TEST_EXAMPLES=500 looks longer, with new requests every time; without it the requests are
always the same.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zlib import crc32

import pytest
import schemathesis
from django.db import transaction
from hypothesis import HealthCheck, settings
from requests import Session
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chatd.accounts.actions import create_token
from chatd.accounts.models import Group
from chatd.accounts.policy import READ_PERMISSIONS
from chatd.api.openapi import document
from chatd.chats.models import ChatFile, ChatFileLink, ChatMessage, Role
from chatd.chattest.openai import OpenAIServer, non_streaming_response
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from tests.api.client import HEADER, JSON_TYPE, Chats, queue
from tests.api.documented import check_answer
from tests.api.routes import mcp_server
from tests.conftest import Cast
from tests.support.asgi import ORIGIN, asgi_session
from tests.support.people import token_for

FOR_ADMINS = ("/config/", "/mcp/", "/providers", "/usage-limits", "/v2/")
EXAMPLES = int(os.environ.get("CHATD_TEST_EXAMPLES", "0"))


@schemathesis.serializer("application/pdf", "text/csv", "text/markdown")
def _as_it_is(context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


schema = schemathesis.openapi.from_dict(
    document(),
    config=SchemathesisConfig.from_dict(
        {
            "generation": {"mode": "all", "with-security-parameters": False},
            "phases": {"coverage": {"unexpected-methods": []}},
        }
    ),
)


@dataclass(frozen=True)
class Scene:
    """What there is to ask about: ids by the name they have in requests.

    `chats` has a chat each time, with a message and a queued message of it.
    """

    chats: list[dict[str, str]]
    others: dict[str, list[Any]]

    def aim(self, case: Case) -> None:
        """Have most sound ids of a request name something that exists."""
        asked = repr((case.path_parameters, case.query, case.body))
        chance = Random(crc32(asked.encode(errors="replace")))
        known = chance.choice(self.chats) | {
            name: chance.choice(values) for name, values in self.others.items()
        }

        def aimed(value: Any, name: str = "") -> Any:
            if name in known and _is_sound(name, value) and chance.random() < 0.8:
                return known[name]
            if isinstance(value, list):
                return [aimed(item) for item in value]
            if isinstance(value, dict):
                return {key: aimed(item, key) for key, item in value.items()}
            return value

        case.path_parameters = aimed(case.path_parameters)
        case.query = aimed(case.query)
        case.body = aimed(case.body)


def _is_sound(name: str, value: Any) -> bool:
    """True for an id that could be one of ours; a malformed one must stay what it is."""
    if name in ("mcp_server_ids", "add_users"):
        return isinstance(value, list)
    if name in ("user", "org", "key", "tool_call_id", "context", "provider"):
        return isinstance(value, str)
    if name in ("message", "queued"):
        return str(value).removeprefix("-").isdecimal()
    try:
        return bool(UUID(value))
    except (ValueError, TypeError, AttributeError):
        return False


@pytest.fixture(scope="module")
def titler() -> Iterator[OpenAIServer]:
    """A model that can be asked for titles."""
    with OpenAIServer(lambda request: non_streaming_response("A title")) as server:
        yield server


@pytest.fixture
def model(titler: OpenAIServer, db: None) -> ModelConfig:
    provider = AIProvider(type=ProviderType.OPENAI_COMPAT, name="fake", base_url=titler.base_url)
    return save_model_config(ModelConfig(ai_provider=save_provider(provider), model="fake-model"))


@pytest.fixture
def scene(cast: Cast, chats: Chats) -> Scene:
    """alice owns chats in every state, some shared, with a queue and a file; bob shares one."""
    waiting, running = chats.waiting(), chats.running()
    of_bob = Chats(cast.bob, cast.organization, chats.model).waiting()
    for chat, reader in ((waiting, cast.bob), (of_bob, cast.alice)):
        chat.user_acl = {str(reader.pk): {"permissions": READ_PERMISSIONS}}
        chat.save()
    file = ChatFile.objects.create(
        owner=cast.alice,
        organization=cast.organization,
        name="a.txt",
        mimetype="text/plain",
        data=b"words",
    )
    ChatFileLink.objects.create(chat=waiting, file=file)
    group = Group.objects.create(organization=cast.organization, name="circle")
    busy = [running, chats.pending(), chats.requiring_action()]
    idle = [waiting, of_bob, chats.failed(), chats.archived(), chats.child_of(waiting)]
    queued = {chat.pk: queue(chat).pk for chat in busy}
    server = str(mcp_server().pk)
    return Scene(
        chats=[
            {
                "chat": str(chat.pk),
                "message": str(ChatMessage.objects.get(chat=chat, role=Role.USER).pk),
                "queued": str(queued.get(chat.pk, 1)),
            }
            for chat in busy + idle
        ],
        others={
            "user": ["me", cast.alice.username, str(cast.alice.pk), cast.bob.username],
            "org": [cast.organization.name, str(cast.organization.pk)],
            "group": [str(cast.organization.pk), str(group.pk)],
            "key": [create_token(user=cast.bob)[0].pk],
            "add_users": [[str(cast.bob.pk)]],
            "file": [str(file.pk)],
            "file_id": [str(file.pk)],
            "organization": [str(cast.organization.pk)],
            "organization_id": [str(cast.organization.pk)],
            "model_config_id": [str(chats.model.pk)],
            "config": [str(chats.model.pk)],
            "user_id": [str(cast.alice.pk), str(cast.bob.pk)],
            "group_id": [str(cast.organization.pk)],
            "provider": [str(chats.model.ai_provider_id), "fake", "openai"],
            "id": [str(chats.model.ai_provider_id)],
            "context": ["general", "root", "title_generation"],
            "mcp_server_ids": [[], [server]],
            "server": [server],
            "tool_call_id": ["call-1"],
        },
    )


@pytest.fixture
def session(cast: Cast) -> Iterator[Session]:
    """The real application. alice asks about chats, the site owner about everything else."""
    with asgi_session() as opened:
        yield opened


@schema.parametrize()
@settings(
    max_examples=EXAMPLES or 20,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_asked_the_answer_is_documented(
    case: Case, scene: Scene, session: Session, cast: Cast
) -> None:
    with transaction.atomic():
        scene.aim(case)
        who = cast.root if any(part in case.path for part in FOR_ADMINS) else cast.alice
        answer = case.call_and_validate(
            base_url=ORIGIN,
            session=session,
            headers={HEADER: token_for(who)},
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )
        path = urlsplit(str(answer.request.url)).path
        media = answer.headers.get("content-type", [""])[0]
        body = answer.json() if media == JSON_TYPE else None
        check_answer(case.method, path, answer.status_code, media, body)
        transaction.set_rollback(True)
