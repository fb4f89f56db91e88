"""Settings put straight into the database, as people and programs may have left them there."""

from typing import Any

from chatd.accounts.models import User
from chatd.preferences.models import SiteSetting, UserSetting
from chatd.preferences.setting import Setting


def put_site(setting: Setting[Any], text: str) -> None:
    SiteSetting.objects.update_or_create(key=setting.key, defaults={"value": text})


def put_personal(user: User, setting: Setting[Any], text: str) -> None:
    UserSetting.objects.update_or_create(user=user, key=setting.key, defaults={"value": text})


def site_texts() -> dict[str, str]:
    """Return every stored setting of the deployment."""
    return dict(SiteSetting.objects.values_list("key", "value"))


def personal_texts(user: User) -> dict[str, str]:
    """Return every stored setting of a person."""
    return dict(UserSetting.objects.filter(user=user).values_list("key", "value"))
