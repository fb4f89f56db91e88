"""Making people, organisations and tokens, as the deployment itself does on its first start.

Nobody's rights are asked here, and no entry is left in the audit log: what people do is in
`users`, `organizations`, `members`, `groups`, `api_keys` and `sign_in`, which write these rows
through here.
"""

from collections.abc import Sequence
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from chatd.accounts.models import (
    APIKey,
    Group,
    KeyType,
    LoginType,
    Organization,
    OrganizationMember,
    SiteRole,
    User,
    UserStatus,
    default_member_roles,
)
from chatd.accounts.tokens import generate_token, hash_secret
from chatd.accounts.validation import check_username, taken
from chatd.core.clock import now
from chatd.core.errors import Validation, bad_request
from config.env import env

MAX_TOKEN_NAME = 64


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
    user = new_user(
        username=username,
        email=email,
        password=password,
        name=name,
        login_type=LoginType.PASSWORD if password else LoginType.NONE,
        site_roles=site_roles,
        check_strength=check_strength,
    )
    return store_user(user, [default_organization()] if organizations is None else organizations)


def new_user(
    *,
    username: str,
    email: str,
    password: str | None,
    login_type: LoginType,
    name: str = "",
    site_roles: Sequence[SiteRole] = (),
    status: UserStatus = UserStatus.ACTIVE,
    check_strength: bool = True,
) -> User:
    """Return a person who is not stored yet; the password is hashed, which takes its time.

    Raises ChatdError 400 for a bad name or password.
    """
    check_username(username)
    user = User(
        username=username,
        email=email,
        name=name,
        rbac_roles=[role.value for role in site_roles],
        login_type=login_type,
        status=status,
    )
    if password and check_strength:
        check_password_strength(password, user)
    user.set_password(password or None)
    return user


def store_user(user: User, organizations: Sequence[Organization]) -> User:
    """Store a new person as a member of organisations. Raises ChatdError 409."""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            OrganizationMember.objects.bulk_create(
                OrganizationMember(organization=organization, user=user)
                for organization in organizations
            )
    except IntegrityError:
        raise name_taken(user) from None
    return user


def name_taken(user: User) -> Exception:
    """Return the 409 that says which of name and e-mail somebody else has."""
    holders = {
        "username": User.objects.named(user.username),
        "email": User.objects.mailed(user.email),
    }
    return taken(
        f'A user named "{user.username}" or with this e-mail exists already.',
        *(field for field, found in holders.items() if found.exclude(pk=user.pk).exists()),
    )


def check_password_strength(password: str, user: User) -> None:
    """Raise the 400 for a password that is too easy to guess."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise bad_request(
            "The password is too weak.",
            validations=[Validation("password", text) for text in error.messages],
        ) from None


@transaction.atomic
def create_organization(
    *,
    name: str,
    display_name: str = "",
    description: str = "",
    icon: str = "",
    is_default: bool = False,
    default_roles: Sequence[str] | None = None,
) -> Organization:
    """Create an organisation with its Everyone group. Raises IntegrityError for a taken name."""
    organization = Organization.objects.create(
        name=name,
        display_name=display_name,
        description=description,
        icon=icon,
        is_default=is_default,
        default_org_member_roles=(
            default_member_roles() if default_roles is None else list(default_roles)
        ),
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
    *,
    user: User,
    name: str = "",
    lifetime: timedelta | None = None,
    scopes: Sequence[str] = (),
) -> tuple[APIKey, str]:
    """Create an API token and return it with its text, which is never shown again.

    `lifetime` defaults to the longest that the deployment allows (CHATD_TOKEN_MAX_DAYS); without
    `scopes` it may be used for everything its user may do.
    Raises ChatdError 400 for a lifetime out of range or a long name, 409 for one that is taken.
    """
    if len(name) > MAX_TOKEN_NAME:
        raise bad_request(f"The token name must be at most {MAX_TOKEN_NAME} characters.")
    longest = timedelta(days=env.token_max_days)
    lifetime = lifetime if lifetime is not None else longest
    if not timedelta(0) < lifetime <= longest:
        advice = f"must be positive and at most {env.token_max_days} days."
        raise bad_request(
            "Invalid token lifetime.",
            detail=f"The lifetime {advice}",
            validations=[Validation("lifetime", f"The lifetime {advice}", advice)],
        )
    try:
        with transaction.atomic():
            return _store_key(user, lifetime, token_name=name, scopes=list(scopes))
    except IntegrityError:
        raise taken(f'A token named "{name}" already exists.', "token_name") from None


def create_session(user: User) -> tuple[APIKey, str]:
    """Create the key of somebody who signed in, and return it with its text."""
    lifetime = timedelta(days=env.session_days)
    return _store_key(user, lifetime, login_type=KeyType.SESSION)


def _store_key(
    user: User,
    lifetime: timedelta,
    *,
    token_name: str = "",
    scopes: list[str] | None = None,
    login_type: KeyType = KeyType.TOKEN,
) -> tuple[APIKey, str]:
    token = generate_token()
    key = APIKey.objects.create(
        id=token.id,
        user=user,
        hashed_secret=hash_secret(token.secret),
        token_name=token_name,
        login_type=login_type,
        scopes=scopes or [],
        lifetime_seconds=int(lifetime.total_seconds()),
        expires_at=now() + lifetime,
    )
    return key, token.text


def purge_expired_tokens() -> int:
    """Delete tokens that expired a month ago or longer; until then lists can show them."""
    deleted, _ = APIKey.objects.filter(expires_at__lt=now() - timedelta(days=30)).delete()
    return deleted
