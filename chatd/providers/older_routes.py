"""The older view of providers: one per kind, with one key and flags of whose key counts.

A facade on the same rows. What other routes made is shown here too, so a kind may be there more
than once; making a second one of a kind is refused here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.core.errors import bad_request, conflict, forbidden, not_found
from chatd.core.ids import canonical_uuid
from chatd.llm.providers import PROVIDERS, ProviderKind, find_kind
from chatd.providers.access import ProviderAccess, access_to, list_access, live_providers
from chatd.providers.administration import (
    FLAGS,
    change_provider,
    check_may_administer,
    insert_provider,
    remove_provider,
)
from chatd.providers.drafts import (
    NewProvider,
    ProviderChanges,
    WantedKey,
    why_no_base_url,
)
from chatd.providers.keys import check_byok, check_key_size
from chatd.providers.model_configs import delete_models_of
from chatd.providers.models import MAX_DISPLAY_NAME, AIProvider, ProviderType
from chatd.providers.own_keys import drop_own_key, keep_own_key

KINDS = [kind.name for kind in PROVIDERS]
_EXISTS = "Chat provider already exists."


@dataclass(frozen=True, slots=True, kw_only=True)
class OlderFields:
    """Fields of a provider as they came; None is not given. "" for the key clears it."""

    display_name: str | None = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = None
    enabled: bool | None = None
    central_api_key_enabled: bool | None = None
    allow_user_api_key: bool | None = None
    allow_central_api_key_fallback: bool | None = None

    def trimmed(self) -> "OlderFields":
        return replace(
            self,
            display_name=self.display_name and self.display_name.strip(),
            api_key=self.api_key and self.api_key.strip(),
            base_url=self.base_url and self.base_url.strip(),
        )


@dataclass(frozen=True, slots=True)
class Slot:
    """A kind, and a configured provider of it; None where there is none."""

    kind: ProviderKind
    access: ProviderAccess | None


def list_slots_for(user: User) -> list[Slot]:
    """Return every kind in its order with the providers of it, the oldest first.

    Raises ChatdError 403.
    """
    if SiteRight.CONFIG_READ not in site_rights(user):
        raise forbidden(detail="Only administrators may see the providers.")
    found = list_access(user.pk, live_providers().order_by("created_at", "id"))
    slots: list[Slot] = []
    for kind in PROVIDERS:
        configured = [Slot(kind, each) for each in found if each.provider.type == kind.name]
        slots += configured or [Slot(kind, None)]
    return slots


def create_of_kind(actor: Actor, wanted: Callable[[], tuple[str, OlderFields]]) -> Slot:
    """Make the provider of a kind; `wanted` decodes kind and fields.

    Raises ChatdError 400, 403, 409.
    """
    check_may_administer(actor.user)
    raw_kind, given = wanted()
    kind = _parse_kind(raw_kind)
    given = given.trimmed()
    _check_texts(given)
    policy = _policy(
        given,
        central_api_key_enabled=True,
        allow_user_api_key=False,
        allow_central_api_key_fallback=False,
    )
    new = NewProvider(
        type=kind.name,
        name=kind.name,
        display_name=given.display_name or kind.display_name,
        enabled=given.enabled is not False,
        base_url=given.base_url or "",
        api_keys=[given.api_key] if given.api_key else [],
        **policy,
    )
    _check_has_key(kind.name, policy, has_key=bool(new.api_keys))
    with transaction.atomic():
        if live_providers().filter(type=kind.name).exists():
            raise conflict(_EXISTS)
        provider = insert_provider(actor.author, replace(new, name=_free_name(kind.name)))
    return _slot(actor.user, provider.pk)


def update_older(actor: Actor, raw_id: str, wanted: Callable[[], OlderFields]) -> Slot:
    """Change a provider; blank display names are none. Raises ChatdError 400, 403, 404."""
    check_may_administer(actor.user)
    provider_id = parse_provider_id(raw_id)
    given = wanted().trimmed()
    provider = _existing(provider_id)
    _check_texts(given)
    policy = _policy(given, **{name: getattr(provider, name) for name in FLAGS})
    changes_key = given.api_key is not None
    if changes_key or given.central_api_key_enabled is not None:
        has_key = bool(given.api_key) if changes_key else provider.keys.exists()
        _check_has_key(provider.type, policy, has_key=has_key)
    keys = [WantedKey(api_key=given.api_key)] if given.api_key else []
    changes = ProviderChanges(
        display_name=given.display_name or None,
        enabled=given.enabled,
        base_url=given.base_url,
        api_keys=keys if changes_key else None,
        **policy,
    )
    change_provider(actor.author, provider, changes)
    return _slot(actor.user, provider_id)


@transaction.atomic
def delete_older(actor: Actor, raw_id: str) -> None:
    """Delete a provider with its models. Raises ChatdError 400, 403, 404."""
    check_may_administer(actor.user)
    provider = _existing(parse_provider_id(raw_id))
    delete_models_of(provider)
    remove_provider(actor.author, provider)


# People's own keys


def list_for_own_keys(user: User) -> list[ProviderAccess]:
    """Return the enabled providers that let people bring keys, in the order of the kinds."""
    shown = live_providers().filter(enabled=True, allow_user_api_key=True, type__in=KINDS)
    found = list_access(user.pk, shown.order_by("created_at", "id"))
    return sorted(found, key=lambda each: KINDS.index(each.provider.type))


def choose_key_here(actor: Actor, raw_id: str, wanted: Callable[[], str]) -> ProviderAccess:
    """Store one's own key for a provider, trimmed. Raises ChatdError 400, 403, 404."""
    check_byok()
    provider_id = parse_provider_id(raw_id)
    api_key = wanted().strip()
    provider = _existing(provider_id)
    if not provider.enabled:
        raise bad_request("Provider is disabled.")
    if not provider.allow_user_api_key:
        raise bad_request("Provider does not allow user API keys.")
    check_key_size(api_key)
    if not api_key:
        raise bad_request("API key is required.")
    return keep_own_key(actor.author, actor.user, provider, api_key)


def forget_key_here(actor: Actor, raw_id: str) -> None:
    """Delete one's own key for a provider; none is a success. Raises ChatdError 400."""
    drop_own_key(actor.author, actor.user, parse_provider_id(raw_id))


def parse_provider_id(raw: str) -> UUID:
    """Return the id of a path. Raises ChatdError 400."""
    found = canonical_uuid(raw)
    if found is None:
        raise bad_request("Invalid chat provider ID.", detail=f'"{raw}" is not a UUID.')
    return found


def _existing(provider_id: UUID) -> AIProvider:
    found = live_providers().filter(pk=provider_id, type__in=KINDS).first()
    if found is None:
        raise not_found()
    return found


def _slot(user: User, provider_id: UUID) -> Slot:
    access = access_to(user.pk, provider_id)
    kind = find_kind(access.provider.type) if access else None
    if access is None or kind is None:
        raise not_found()
    return Slot(kind, access)


def _free_name(kind: str) -> str:
    """Return the kind, numbered where a provider of another kind has that name."""
    taken = set(live_providers().filter(name__startswith=kind).values_list("name", flat=True))
    name, number = kind, 1
    while name in taken:
        number += 1
        name = f"{kind}-{number}"
    return name


def _parse_kind(raw: str) -> ProviderKind:
    kind = find_kind(raw)
    if kind is None:
        raise bad_request(
            "Invalid provider.", detail=f"Provider must be one of: {', '.join(KINDS)}."
        )
    return kind


def _check_texts(given: OlderFields) -> None:
    check_key_size(given.api_key or "")
    if given.base_url and (reason := why_no_base_url(given.base_url)):
        raise bad_request("Invalid provider base URL.", detail=reason)
    name = given.display_name or ""
    if len(name) > MAX_DISPLAY_NAME or any(character < " " for character in name):
        raise bad_request(
            "Invalid display name.",
            detail=f"A display name is one line of at most {MAX_DISPLAY_NAME} characters.",
        )


def _policy(given: OlderFields, **otherwise: bool) -> dict[str, Any]:
    """Return the flags as they will be. Raises ChatdError 400 for a policy that makes no sense."""
    asked = {name: getattr(given, name) for name in FLAGS}
    policy = {name: otherwise[name] if asked[name] is None else asked[name] for name in FLAGS}
    central, own, fallback = (policy[name] for name in FLAGS)
    if not central and not own:
        detail = "At least one of central and user API keys must be enabled."
    elif fallback and not (central and own):
        detail = "Falling back to the central API key needs both central and user API keys."
    else:
        return policy
    raise bad_request("Invalid credential policy.", detail=detail)


def _check_has_key(kind: str, policy: Mapping[str, bool], *, has_key: bool) -> None:
    if policy["central_api_key_enabled"] and not has_key and kind != ProviderType.BEDROCK:
        raise bad_request("API key is required when central API key is enabled.")
