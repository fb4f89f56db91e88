"""Writes to people, organisations and tokens. Nothing else writes these rows."""

import re
from collections.abc import Sequence
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from chatd.accounts.models import (
    APIKey,
    Group,
    LoginType,
    Organization,
    OrganizationMember,
    SiteRole,
    User,
)
from chatd.accounts.tokens import generate_token, hash_secret
from chatd.core.clock import now
from chatd.core.errors import Validation, bad_request, conflict
from config.env import env

_USERNAME = re.compile(r"[a-zA-Z0-9]+(?:-[a-zA-Z0-9]+)*")
MAX_USERNAME = 32
MAX_TOKEN_NAME = 64


def check_username(username: str) -> None:
    """Raise the 400 for a name that is not 1-32 letters, digits and single inner dashes."""
    if len(username) > MAX_USERNAME or not _USERNAME.fullmatch(username):
        raise bad_request(
            "Validation failed.",
            validations=[
                Validation(
                    "username",
                    f"must be 1 to {MAX_USERNAME} letters, digits and single dashes,"
                    " not starting or ending with a dash",
                )
            ],
        )


def create_user(
    *,
    username: str,
    email: str,
    password: str | None,
    name: str = "",
    site_roles: Sequence[SiteRole] = (),
    organizations: Sequence[Organization] | None = None,
    check_strength: bool = True,
) -> User:
    """Create a person who signs in by password, as a member of `organizations`.

    Without `organizations` the default one is taken; without `password` nobody can sign in.
    `check_strength` is off only for a password that the operator of the server chose.
    Raises ChatdError 400 for a bad name or password, 409 for one that is taken.
    """
    check_username(username)
    user = User(
        username=username,
        email=email,
        name=name,
        rbac_roles=[role.value for role in site_roles],
        login_type=LoginType.PASSWORD if password else LoginType.NONE,
    )
    if password and check_strength:
        _check_password(password, user)
    user.set_password(password or None)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            joined = [default_organization()] if organizations is None else organizations
            OrganizationMember.objects.bulk_create(
                OrganizationMember(organization=organization, user=user) for organization in joined
            )
    except IntegrityError:
        raise conflict(f'A user named "{username}" or with this e-mail exists already.') from None
    return user


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise bad_request(
            "The password is too weak.",
            validations=[Validation("password", text) for text in error.messages],
        ) from None


@transaction.atomic
def create_organization(
    *, name: str, display_name: str = "", is_default: bool = False
) -> Organization:
    """Create an organisation with its Everyone group. Raises IntegrityError for a taken name."""
    organization = Organization.objects.create(
        name=name, display_name=display_name, is_default=is_default
    )
    Group.objects.create(
        id=organization.pk, organization=organization, name="Everyone", display_name="Everyone"
    )
    return organization


def default_organization() -> Organization:
    """Return the default organisation, creating it on the first call."""
    found = Organization.objects.filter(is_default=True).first()
    if found is not None:
        return found
    try:
        return create_organization(name="default", display_name="Default", is_default=True)
    except IntegrityError:  # another process was first
        return Organization.objects.get(is_default=True)


def create_token(
    *, user: User, name: str = "", lifetime: timedelta | None = None
) -> tuple[APIKey, str]:
    """Create an API token and return it with its text, which is never shown again.

    `lifetime` defaults to the longest that the deployment allows (CHATD_TOKEN_MAX_DAYS).
    Raises ChatdError 400 for a lifetime out of range or a long name, 409 for one that is taken.
    """
    if len(name) > MAX_TOKEN_NAME:
        raise bad_request(f"The token name must be at most {MAX_TOKEN_NAME} characters.")
    longest = timedelta(days=env.token_max_days)
    lifetime = lifetime if lifetime is not None else longest
    if not timedelta(0) < lifetime <= longest:
        raise bad_request(
            "Invalid token lifetime.",
            detail=f"The lifetime must be positive and at most {env.token_max_days} days.",
        )
    token = generate_token()
    try:
        with transaction.atomic():
            key = APIKey.objects.create(
                id=token.id,
                user=user,
                hashed_secret=hash_secret(token.secret),
                token_name=name,
                lifetime_seconds=int(lifetime.total_seconds()),
                expires_at=now() + lifetime,
            )
    except IntegrityError:
        raise conflict(f'A token named "{name}" already exists.') from None
    return key, token.text


def revoke_token(key: APIKey) -> None:
    """Delete a token; no request is accepted with it any more. Open sockets stay open."""
    key.delete()


def purge_expired_tokens() -> int:
    """Delete tokens that expired a month ago or longer; until then lists can show them."""
    deleted, _ = APIKey.objects.filter(expires_at__lt=now() - timedelta(days=30)).delete()
    return deleted
