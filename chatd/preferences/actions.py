"""Writes of settings. A change of the deployment is in the audit log, one entry per setting."""

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, TypeVar

from django.db import transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import forbidden, not_found
from chatd.core.ids import NIL_UUID
from chatd.live.config import announce_config
from chatd.preferences.models import SiteSetting, UserSetting
from chatd.preferences.registry import INCLUDE_DEFAULT_PROMPT, SYSTEM_PROMPT
from chatd.preferences.setting import Assignment, Setting

T = TypeVar("T")


def check_may_change(user: User, setting: Setting[Any]) -> None:
    """Raise the refusal for a user who may not change this setting of the deployment."""
    if SiteRight.CONFIG_UPDATE in site_rights(user):
        return
    if setting.hides_refused_writes:
        raise not_found()
    raise forbidden(detail="Only administrators may change settings of the deployment.")


def change_setting(actor: Actor, setting: Setting[T], wanted: Callable[[], T]) -> None:
    """Change a setting of the deployment; `wanted` decodes the value once the rights are known.

    Raises ChatdError 400, 403, 404.
    """
    check_may_change(actor.user, setting)
    store_settings(actor.author, [setting.to(wanted())])


def change_system_prompt(actor: Actor, wanted: Callable[[], tuple[str, bool | None]]) -> None:
    """Change the deployment's prompt, and whether the built-in one is included unless that is None.

    Raises ChatdError 400, 403.
    """
    check_may_change(actor.user, SYSTEM_PROMPT)
    text, include_default = wanted()
    assignments = [SYSTEM_PROMPT.to(text)]
    if include_default is not None:
        assignments.append(INCLUDE_DEFAULT_PROMPT.to(include_default))
    store_settings(actor.author, assignments)


@transaction.atomic
def reset_setting(actor: Actor, setting: Setting[Any]) -> None:
    """Have the default hold again; what is not stored is a success. Raises ChatdError 403, 404."""
    check_may_change(actor.user, setting)
    rows = SiteSetting.objects.select_for_update().filter(key=setting.key)
    before = rows.values_list("value", flat=True).first()
    if before is None:
        return
    rows.delete()
    resource = Resource("setting", setting.key, setting.label)
    record(actor.author, Action.DELETE, resource, before={"value": before})
    if setting.notice:
        announce_config(setting.notice, NIL_UUID)


@transaction.atomic
def store_settings(author: Author, assignments: Iterable[Assignment]) -> None:
    """Store settings of the deployment, all or none; whoever calls has checked the rights."""
    # By key, as the rows are locked: two changes at once must not wait for each other.
    wanted = dict(sorted(((each.setting.key, each) for each in assignments), key=itemgetter(0)))
    rows = SiteSetting.objects.select_for_update().filter(key__in=wanted)
    before = dict(rows.order_by("key").values_list("key", "value"))
    SiteSetting.objects.bulk_create(
        [SiteSetting(key=key, value=each.text, updated_at=now()) for key, each in wanted.items()],
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["value", "updated_at"],
    )
    for key, each in wanted.items():
        record(
            author,
            Action.WRITE,
            Resource("setting", key, each.setting.label),
            before={"value": before.get(key)},
            after={"value": each.text},
        )
        if each.setting.notice:
            announce_config(each.setting.notice, NIL_UUID)


@transaction.atomic
def store_personal(user: User, assignment: Assignment) -> None:
    """Store a setting of a person."""
    setting = assignment.setting
    UserSetting.objects.bulk_create(
        [UserSetting(user=user, key=setting.key, value=assignment.text, updated_at=now())],
        update_conflicts=True,
        unique_fields=["user", "key"],
        update_fields=["value", "updated_at"],
    )
    if setting.notice:
        announce_config(setting.notice, user.pk)


def forget_personal(user: User, setting: Setting[Any]) -> None:
    """Delete a setting of a person; one that is not stored is a success."""
    UserSetting.objects.filter(user=user, key=setting.key).delete()
