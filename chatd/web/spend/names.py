"""What the ids of reports are called, in one query for each kind of them."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.urls import reverse

from chatd.accounts.models import Group, User
from chatd.chats.models import Chat
from chatd.providers.models import AIProvider, ModelConfig
from chatd.spending.ledger_models import CallKind
from chatd.spending.scopes import NOTHING, By


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What something is called; `link` leads to its own page, where the reader may open it."""

    text: str
    about: str = ""
    link: str = ""


Names = Mapping[Any, Name]


def names_of(reader: User, by: By, keys: Collection[Any]) -> Names:
    """Return the name of each key, of what is gone too."""
    wanted = [key for key in keys if key is not None]
    if by is By.KIND:
        return {key: Name(text=name_of_kind(key)) for key in wanted}
    ids = [key for key in wanted if key != NOTHING]
    found = _FINDERS[by](reader, ids) if ids else {}
    return {key: found.get(key) or _unknown(by, key) for key in wanted}


def name_of_kind(kind: str) -> str:
    """Return what a kind of calls is called."""
    return CallKind(kind).label if kind in CallKind.values else kind


def _unknown(by: By, key: UUID) -> Name:
    if key == NOTHING:
        return Name(text=_NONE[by])
    return Name(text=f"deleted {_WORDS[by]}", about=str(key))


_WORDS = {
    By.USER: "person",
    By.GROUP: "group",
    By.MODEL: "model",
    By.PROVIDER: "provider",
    By.CHAT: "chat",
}
_NONE = {
    By.USER: "Nobody",
    By.GROUP: "No group",
    By.MODEL: "No model",
    By.PROVIDER: "No provider",
    By.CHAT: "No chat that is known",
}


def _link(reader: User, permission: str, page: str) -> Callable[[UUID], str]:
    """Return what makes the addresses of pages that the reader may open; else of none."""
    if not reader.has_perm(permission):
        return lambda _key: ""
    # Finding a route takes longer than all else that is done for a name.
    pattern = reverse(f"admin:{page}_change", args=[NOTHING])
    return lambda key: pattern.replace(str(NOTHING), str(key))


def _users(reader: User, ids: Iterable[UUID]) -> dict[UUID, Name]:
    link = _link(reader, "accounts.view_user", "accounts_user")
    return {
        key: Name(
            text=user.username,
            about="deleted" if user.deleted else user.name,
            link="" if user.deleted else link(key),
        )
        for key, user in User.objects.in_bulk(list(ids)).items()
    }


def _groups(reader: User, ids: Iterable[UUID]) -> dict[UUID, Name]:
    link = _link(reader, "accounts.view_group", "accounts_group")
    groups = Group.objects.select_related("organization").in_bulk(list(ids))
    return {
        key: Name(
            text=f"Everyone in {group.organization}" if group.is_everyone else str(group),
            about=str(group.organization),
            link=link(key),
        )
        for key, group in groups.items()
    }


def _models(reader: User, ids: Iterable[UUID]) -> dict[UUID, Name]:
    link = _link(reader, "providers.view_modelconfig", "providers_modelconfig")
    models = ModelConfig.objects.select_related("ai_provider").in_bulk(list(ids))
    return {
        key: Name(
            text=str(model),
            about="deleted" if model.deleted else str(model.ai_provider or model.provider),
            link="" if model.deleted else link(key),
        )
        for key, model in models.items()
    }


def _providers(reader: User, ids: Iterable[UUID]) -> dict[UUID, Name]:
    link = _link(reader, "providers.view_aiprovider", "providers_aiprovider")
    return {
        key: Name(
            text=str(provider),
            about="deleted" if provider.deleted else "",
            link="" if provider.deleted else link(key),
        )
        for key, provider in AIProvider.objects.in_bulk(list(ids)).items()
    }


def _chats(reader: User, ids: Iterable[UUID]) -> dict[UUID, Name]:
    """Titles are for who may see the list of chats; to others a chat is its id."""
    link = _link(reader, "chats.view_chat", "chats_chat")
    titles = dict(Chat.objects.filter(pk__in=list(ids)).values_list("pk", "title"))
    return {
        key: Name(text=title[:80] or "Without a title", link=address)
        if (address := link(key))
        else Name(text="Chat", about=str(key))
        for key, title in titles.items()
    }


_FINDERS: Mapping[By, Callable[[User, Iterable[UUID]], dict[UUID, Name]]] = {
    By.USER: _users,
    By.GROUP: _groups,
    By.MODEL: _models,
    By.PROVIDER: _providers,
    By.CHAT: _chats,
}
