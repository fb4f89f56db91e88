"""Reads of settings. Every read asks the database: a change holds at once in every process."""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import CharField, UUIDField

from chatd.accounts.models import User
from chatd.accounts.policy import site_rights
from chatd.core.errors import ChatdError, ErrorCode, not_found
from chatd.core.statements import Parameter, Select
from chatd.preferences.models import SiteSetting, UserSetting
from chatd.preferences.registry import INCLUDE_DEFAULT_PROMPT, SYSTEM_PROMPT
from chatd.preferences.setting import Setting, Values

T = TypeVar("T")


def site_values(*settings: Setting[Any]) -> Values:
    """Return settings of the deployment, in one query."""
    keys = _named(settings)
    return Values(settings, _of_site(len(keys)).all(**keys))


def site_value(setting: Setting[T]) -> T:
    """Return one setting of the deployment."""
    return site_values(setting)[setting]


def personal_values(user_id: UUID, *settings: Setting[Any]) -> Values:
    """Return settings of a person, in one query."""
    keys = _named(settings)
    return Values(settings, _of_person(len(keys)).all(user_id=user_id, **keys))


def _named(settings: Sequence[Setting[Any]]) -> dict[str, str]:
    return {f"key{number}": setting.key for number, setting in enumerate(settings)}


def _keys(count: int) -> list[Parameter]:
    return [Parameter(f"key{number}", CharField()) for number in range(count)]


@cache
def _of_site(count: int) -> Select[tuple[Any, ...]]:
    return Select(
        lambda: SiteSetting.objects.filter(key__in=_keys(count)).values_list("key", "value")
    )


@cache
def _of_person(count: int) -> Select[tuple[Any, ...]]:
    return Select(
        lambda: UserSetting.objects.filter(
            user_id=Parameter("user_id", UUIDField()), key__in=_keys(count)
        ).values_list("key", "value")
    )


def personal_value(user_id: UUID, setting: Setting[T]) -> T:
    """Return one setting of a person."""
    return personal_values(user_id, setting)[setting]


def values_by_parameter(user_id: UUID, setting: Setting[T]) -> dict[str, T]:
    """Return what a person stored under each parameter; what cannot be understood is left out."""
    rows = UserSetting.objects.filter(user_id=user_id, key__startswith=setting.key)
    found: dict[str, T] = {}
    for key, text in rows.order_by("key").values_list("key", "value"):
        parameter = key.removeprefix(setting.key)
        stored = Values([one := setting.of(parameter)], [(key, text)]).stored(one)
        if stored.is_set and not stored.is_malformed:
            found[parameter] = stored.value
    return found


def check_may_read(user: User, setting: Setting[Any]) -> None:
    """Raise the 404 for a setting of the deployment that the user may not see."""
    if setting.read_right is not None and setting.read_right not in site_rights(user):
        raise not_found()


def read_setting_for(user: User, setting: Setting[T]) -> T:
    """Return a setting of the deployment that the user may see. Raises ChatdError 404."""
    check_may_read(user, setting)
    return site_value(setting)


def read_intact_for(user: User, setting: Setting[T], broken: str) -> T:
    """As `read_setting_for`; a stored text that cannot be understood is a 500 saying `broken`."""
    check_may_read(user, setting)
    stored = site_values(setting).stored(setting)
    if stored.is_malformed:
        raise ChatdError(ErrorCode.INTERNAL, broken)
    return stored.value


def includes_default_prompt(values: Values) -> bool:
    """Tell whether new chats begin with the built-in prompt.

    Until that was chosen, they do while the deployment has no prompt of its own.
    """
    chosen = values.stored(INCLUDE_DEFAULT_PROMPT)
    return chosen.value if chosen.is_set else not values[SYSTEM_PROMPT]
