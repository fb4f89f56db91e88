"""Writes of limits, by administrators."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import transaction

from chatd.accounts.actor import Actor
from chatd.accounts.locks import lock_group, lock_user
from chatd.accounts.models import Group, User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.accounts.spend_limits import set_spend_limit
from chatd.audit.actions import Resource, audited, record, refusals_recorded
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import bad_request, forbidden, not_found
from chatd.spending.amounts import NOT_POSITIVE, refused_limit
from chatd.spending.models import UsageLimitConfig
from chatd.spending.periods import Period

LIMIT = "usage_limit"
OVERRIDE = "usage_limit_override"
"""Types of resources in the audit log."""

Holder = TypeVar("Holder", User, Group)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLimit:
    """A limit for everybody, not yet checked: None switches limits off, "" is a month."""

    spend_limit_micros: int | None
    period: str


def set_usage_limit(actor: Actor, wanted: Callable[[], WantedLimit]) -> UsageLimitConfig:
    """Set the limit of everybody who has no other; `wanted` decodes it once the rights are known.

    Raises ChatdError 400, 403.
    """
    _check_may_change(actor, LIMIT)
    with audited(actor.author, Resource(LIMIT, ""), _audited_limit):
        columns = _checked(wanted())
        return UsageLimitConfig.objects.update_or_create(
            singleton=True, defaults={**columns, "updated_at": now()}
        )[0]


def _checked(wanted: WantedLimit) -> dict[str, Any]:
    micros = wanted.spend_limit_micros
    if micros is not None and (refused := refused_limit(micros)):
        raise bad_request("Invalid chat usage limit spend limit.", detail=refused)
    period = wanted.period or (Period.MONTH if micros is None else "")
    if period not in Period.values:
        raise bad_request(
            "Invalid chat usage limit period.", detail="Period must be one of: day, week, month."
        )
    return {
        "enabled": micros is not None,
        "default_limit_micros": micros or 0,
        "period": period,
    }


def _audited_limit() -> Mapping[str, Any]:
    stored = UsageLimitConfig.objects.select_for_update().first()
    if stored is None:
        return {}
    return {"spend_limit_micros": stored.spend_limit_micros, "period": stored.period}


# Limits of single people and groups


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideKind(Generic[Holder]):
    """Whose limit it is, and what is said when it cannot be changed."""

    lock: Callable[[UUID], Holder | None]
    unknown: str
    missing: str
    invalid: str
    not_positive: str


OF_USER = OverrideKind(
    lock=lock_user,
    unknown="User not found.",
    missing="Chat usage limit override not found.",
    invalid="Invalid chat usage limit override.",
    not_positive=NOT_POSITIVE,
)
OF_GROUP = OverrideKind(
    lock=lock_group,
    unknown="Group not found.",
    missing="Chat usage limit group override not found.",
    invalid="Invalid chat usage limit group override.",
    not_positive="Spend limit (in microdollars) must be greater than 0.",
)


def set_override(
    actor: Actor,
    kind: OverrideKind[Holder],
    holder_id: Callable[[], UUID],
    micros: Callable[[], int],
) -> Holder:
    """Give a person or a group a limit. Raises ChatdError 400, 403, 404."""
    _check_may_change(actor, OVERRIDE)
    found_id = holder_id()
    with refusals_recorded(actor.author, Resource(OVERRIDE, str(found_id))), transaction.atomic():
        wanted = micros()
        if refused := refused_limit(wanted, kind.not_positive):
            raise bad_request(kind.invalid, detail=refused)
        holder = kind.lock(found_id)
        if holder is None:
            raise not_found(kind.unknown)
        _change(actor, holder, wanted)
        return holder


def remove_override(
    actor: Actor, kind: OverrideKind[Holder], holder_id: Callable[[], UUID]
) -> None:
    """Take the limit of a person or a group away. Raises ChatdError 400, 403."""
    _check_may_change(actor, OVERRIDE)
    found_id = holder_id()
    with refusals_recorded(actor.author, Resource(OVERRIDE, str(found_id))), transaction.atomic():
        holder = kind.lock(found_id)
        if holder is None:
            raise bad_request(kind.unknown)
        if holder.chat_spend_limit_micros is None:
            raise bad_request(kind.missing)
        _change(actor, holder, None)


def _change(actor: Actor, holder: User | Group, micros: int | None) -> None:
    before = holder.chat_spend_limit_micros
    set_spend_limit(holder, micros)
    action = Action.CREATE if before is None else Action.WRITE
    if micros is None:
        action = Action.DELETE
    organization_id = holder.organization_id if isinstance(holder, Group) else None
    record(
        actor.author,
        action,
        Resource(OVERRIDE, str(holder.pk), str(holder), organization_id),
        before={"spend_limit_micros": before},
        after={"spend_limit_micros": micros},
    )


def _check_may_change(actor: Actor, resource_type: str) -> None:
    with refusals_recorded(actor.author, Resource(resource_type, "")):
        if SiteRight.CONFIG_UPDATE not in site_rights(actor.user):
            raise forbidden(detail="Only administrators may change the usage limits.")
