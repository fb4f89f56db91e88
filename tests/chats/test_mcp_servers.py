"""Chats that name MCP servers: which ids they may name, and what a deletion leaves behind."""

from threading import Barrier, BrokenBarrierError, Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, connections

from chatd.accounts.actor import Actor
from chatd.chats import mcp_servers
from chatd.chats.actions import NewMessageRequest, send_message
from chatd.chats.content import InputPart
from chatd.chats.mcp_servers import forget_mcp_server
from chatd.chats.models import Chat, Mode
from chatd.core.errors import ChatdError
from chatd.mcp import actions
from chatd.mcp.actions import delete_server
from chatd.mcp.models import MCPServerConfig
from chatd.providers.models import ModelConfig
from tests.api.client import Chats, api_of, text_part
from tests.api.routes import mcp_server
from tests.chats.interleaving import Overlap
from tests.conftest import Cast
from tests.support.plans import analyze, scans

INVALID = "One or more MCP server IDs are invalid."


@pytest.fixture
def chats(cast: Cast, model: ModelConfig) -> Chats:
    return Chats(cast.alice, cast.organization, model)


@pytest.fixture
def servers(cast: Cast) -> list[MCPServerConfig]:
    return [mcp_server(slug=f"s{number}", enabled=number > 0) for number in range(3)]


def ids(*servers: MCPServerConfig) -> list[str]:
    return [str(server.pk) for server in servers]


def named(chat: Chat) -> list[str]:
    return list(Chat.objects.values_list("mcp_server_ids", flat=True).get(pk=chat.pk))


# naming


@pytest.mark.django_db
def test_chats_keep_the_servers_they_are_given_also_disabled_ones(
    cast: Cast, chats: Chats, servers: list[MCPServerConfig]
) -> None:
    alice, wanted = api_of(cast.alice), ids(servers[2], servers[0])
    body = {"organization_id": str(cast.organization.pk), "content": [text_part()]}
    made = alice.post("/chats", body | {"mcp_server_ids": [each.upper() for each in wanted]})
    assert (made.status, made.body["mcp_server_ids"]) == (201, wanted)
    path = f"/chats/{made.body['id']}"
    for given, kept in (({}, wanted), ({"mcp_server_ids": None}, wanted)):
        assert alice.post(f"{path}/messages", {"content": [text_part()], **given}).status == 200
        assert alice.get(path).body["mcp_server_ids"] == kept
    alice.post(f"{path}/messages", {"content": [text_part()], "mcp_server_ids": ids(servers[1])})
    assert alice.get(path).body["mcp_server_ids"] == ids(servers[1])
    alice.post(f"{path}/messages", {"content": [text_part()], "mcp_server_ids": []})
    assert alice.get(path).body["mcp_server_ids"] == []


@pytest.mark.django_db
@pytest.mark.parametrize("route", ["create", "send"])
def test_unknown_and_repeated_servers_are_refused_and_named(
    cast: Cast, chats: Chats, servers: list[MCPServerConfig], route: str
) -> None:
    alice, chat, unknown = api_of(cast.alice), chats.waiting(), str(uuid4())
    body: dict[str, Any] = {"content": [text_part()]}
    path = f"/chats/{chat.pk}/messages"
    if route == "create":
        path, body = "/chats", body | {"organization_id": str(cast.organization.pk)}
    first, second = ids(*servers[:2])
    for given, wrong in (
        ([unknown], [unknown]),
        ([first, first], [first]),
        ([second, unknown, first, second], [second, unknown]),
        ([unknown, unknown], [unknown]),
    ):
        refused = alice.post(path, body | {"mcp_server_ids": given})
        assert refused.status == 400
        assert refused.body == {"message": INVALID, "detail": f"Invalid IDs: {', '.join(wrong)}"}
    assert Chat.objects.count() == 1
    assert named(chat) == []


@pytest.mark.django_db
def test_chats_that_explore_keep_the_servers_they_began_with(
    cast: Cast, chats: Chats, servers: list[MCPServerConfig]
) -> None:
    alice, root = api_of(cast.alice), chats.waiting()
    child = chats.child_of(root, mode=Mode.EXPLORE, mcp_server_ids=ids(servers[0]))
    body = {"content": [text_part()], "mcp_server_ids": ids(servers[1])}
    assert alice.post(f"/chats/{child.pk}/messages", body).status == 200
    assert named(child) == ids(servers[0])
    body["mcp_server_ids"] = [str(uuid4())]
    assert alice.post(f"/chats/{child.pk}/messages", body).status == 400


# forgetting


@pytest.mark.django_db
def test_a_deleted_server_is_taken_out_of_every_chat(
    cast: Cast, chats: Chats, servers: list[MCPServerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_servers, "BATCH_ROWS", 3)
    a, b, c = ids(*servers)
    lists = [[a], [a, b], [b, a, c], [b], [], [c, a], [a], [a], [a]]
    made = [chats.waiting(mcp_server_ids=each) for each in lists]
    other = Chats(cast.bob, cast.organization, chats.model).archived()
    Chat.objects.filter(pk=other.pk).update(mcp_server_ids=[a])
    before = {chat.pk: chat for chat in Chat.objects.all()}
    assert api_of(cast.root).delete(f"/mcp/servers/{a}").status == 204
    assert [named(chat) for chat in made] == [[each for each in one if each != a] for one in lists]
    assert named(other) == []
    for chat in Chat.objects.all():
        was = before[chat.pk]
        assert (chat.updated_at, chat.snapshot_version) == (was.updated_at, was.snapshot_version)


@pytest.mark.django_db
def test_chats_that_name_no_server_are_not_read(chats: Chats, cast: Cast) -> None:
    Chat.objects.bulk_create(
        Chat(
            owner=cast.alice,
            organization=cast.organization,
            last_model_config=chats.model,
            mcp_server_ids=[str(UUID(int=number))] if number % 3 == 0 else [],
        )
        for number in range(3000)
    )
    analyze()
    found = scans(lambda: forget_mcp_server(UUID(int=3)), ["chats_chat"])
    if connection.vendor == "postgresql":  # SQLite has no index for it
        assert found == []
    left = [each for each in Chat.objects.values_list("mcp_server_ids", flat=True) if each]
    assert len(left) == 999


# at the same moment


@pytest.fixture
def overlap(monkeypatch: pytest.MonkeyPatch) -> Overlap:
    return Overlap(monkeypatch)


def send(cast: Cast, chat: Chat, server: MCPServerConfig) -> None:
    content = [InputPart(type="text", text="hello")]
    request = NewMessageRequest(content=content, mcp_server_ids=[server.pk])
    send_message(Actor(cast.alice), chat.pk, lambda: request)


@pytest.mark.django_db(transaction=True)
def test_a_message_that_comes_while_its_server_is_deleted_is_refused(
    cast: Cast,
    chats: Chats,
    servers: list[MCPServerConfig],
    overlap: Overlap,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat, server = chats.waiting(), servers[1]
    monkeypatch.setattr(actions, "get_server", overlap.holding(actions.get_server))
    deleted, refused = overlap.run(
        lambda: delete_server(Actor(cast.root), lambda: server.pk),
        lambda: send(cast, chat, server),
    )
    assert deleted is None
    assert isinstance(refused, ChatdError)
    assert (refused.message, refused.detail) == (INVALID, f"Invalid IDs: {server.pk}")
    assert named(chat) == []


@pytest.mark.django_db(transaction=True)
def test_a_deletion_that_comes_while_a_message_is_sent_finds_the_chat(
    cast: Cast, chats: Chats, servers: list[MCPServerConfig], overlap: Overlap
) -> None:
    chat, server = chats.waiting(), servers[1]
    assert overlap.run(
        lambda: send(cast, chat, server),
        lambda: delete_server(Actor(cast.root), lambda: server.pk),
    ) == (None, None)
    assert named(chat) == []
    assert not MCPServerConfig.objects.filter(pk=server.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_two_messages_that_name_a_server_do_not_wait_for_each_other(
    cast: Cast, chats: Chats, servers: list[MCPServerConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        return  # it has one writer at a time
    one, other = chats.waiting(), chats.waiting()
    both, met = Barrier(2), []
    real = mcp_servers.hold_servers

    def hold(wanted: Any) -> Any:
        held = real(wanted)
        try:
            both.wait(20)
            met.append(True)
        except BrokenBarrierError:
            met.append(False)
        return held

    monkeypatch.setattr(mcp_servers, "hold_servers", hold)

    def run(chat: Chat) -> None:
        try:
            send(cast, chat, servers[1])
        finally:
            connections.close_all()

    threads = [Thread(target=run, args=(chat,)) for chat in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert met == [True, True]
