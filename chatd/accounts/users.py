"""What is done with people: made, renamed, given roles, suspended, deleted.

Every action asks for rights, changes, and leaves its entry in the audit log in one transaction.
Whoever changes somebody holds the rows of all people with site roles for that moment, so that two
changes at once can never leave the deployment without an owner.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Q

from chatd.accounts.access import tell_sockets_of
from chatd.accounts.actions import (
    check_password_strength,
    default_organization,
    name_taken,
    new_user,
    store_user,
)
from chatd.accounts.actor import Actor
from chatd.accounts.backends import knows_own_password
from chatd.accounts.members import check_may_add
from chatd.accounts.models import (
    APIKey,
    ExternalIdentity,
    GroupMember,
    KeyType,
    LoginType,
    Organization,
    OrganizationMember,
    SiteRole,
    User,
    UserStatus,
)
from chatd.accounts.policy import SiteRight, administered_organizations, site_grants, site_rights
from chatd.accounts.selectors import get_user_for
from chatd.accounts.validation import Findings
from chatd.audit.actions import Author, Resource, audited, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.endings import Endings
from chatd.core.errors import (
    ChatdError,
    Validation,
    bad_request,
    conflict,
    forbidden,
    not_found,
)

USER_ENDINGS: Endings[[Author, User]] = Endings()
"""Remove what other apps keep for a person alone, when the person is deleted."""

NEW_STATUSES = (UserStatus.ACTIVE, UserStatus.DORMANT)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A request to create a person. No organisation is the default one."""

    username: str
    email: str
    name: str = ""
    password: str = field(default="", repr=False)
    login_type: str = ""
    status: str = ""
    organization_ids: Sequence[UUID] = ()
    roles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPassword:
    password: str = field(repr=False)
    old_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a person is called; no e-mail is "no change"."""

    username: str
    name: str
    email: str | None = None


def user_resource(user: User) -> Resource:
    """Return a person as the audit log names them."""
    return Resource("user", str(user.pk), user.username)


def create_person(actor: Actor, request: Callable[[], NewUser]) -> User:
    """Create a person in organisations whose members the actor looks after.

    Raises ChatdError 400, 403, 409.
    """
    if not may_create_people(actor.user):
        raise forbidden(detail="You may not create people.")
    wanted = request()
    organizations = _checked(wanted)
    _check_grants(actor, wanted.roles)
    for organization in organizations:
        check_may_add(actor.user, organization)
    user = new_user(
        username=wanted.username,
        email=wanted.email,
        password=wanted.password,
        name=wanted.name.strip(),
        login_type=LoginType(wanted.login_type or LoginType.PASSWORD),
        site_roles=[SiteRole(role) for role in dict.fromkeys(wanted.roles)],
        status=UserStatus(wanted.status or UserStatus.ACTIVE),
    )
    with transaction.atomic():
        store_user(user, organizations)
        joined = sorted(organization.name for organization in organizations)
        after = user_fields(user) | {"organizations": joined}
        record(actor.author, Action.CREATE, user_resource(user), after=after)
    return user


def may_create_people(user: User) -> bool:
    """Tell whether a user may create people somewhere."""
    return SiteRight.USERS_UPDATE in site_rights(user) or bool(administered_organizations(user))


def update_profile(actor: Actor, who: str, request: Callable[[], Profile]) -> User:
    """Change the names of a person. Raises ChatdError 400, 403, 404, 409."""
    person = get_user_for(actor.user, who, SiteRight.USERS_UPDATE)
    wanted = request()
    findings = Findings()
    findings.username(wanted.username)
    findings.text("name", wanted.name)
    if wanted.email is not None:
        findings.email(wanted.email)
    findings.check()
    with changing_person(actor.author, person) as user:
        user.username, user.name = wanted.username, wanted.name.strip()
        user.email = user.email if wanted.email is None else wanted.email
        try:
            with transaction.atomic():
                save_user(user, "username", "name", "email")
        except IntegrityError:
            raise name_taken(user) from None
    return user


def set_password(actor: Actor, who: str, request: Callable[[], NewPassword]) -> User:
    """Change a password and end the other sessions of its person.

    Whoever changes their own says the old one. API tokens go on working.
    Raises ChatdError 400, 403, 404, 409, 429.
    """
    person = get_user_for(actor.user, who, SiteRight.PERSONAL)
    wanted = request()
    if person.login_type != LoginType.PASSWORD:
        raise bad_request("People who do not sign in with a password cannot have one.")
    if person.pk == actor.user.pk and not knows_own_password(person, wanted.old_password):
        wrong = Validation("old_password", "Old password is incorrect.")
        raise bad_request("Old password is incorrect.", validations=[wrong])
    check_password_strength(wanted.password, person)
    known, hashed = person.password, make_password(wanted.password)  # slow, so before the lock
    with changing_person(actor.author, person) as user:
        if user.password != known:
            raise conflict("The password was changed meanwhile.")
        user.password = hashed
        save_user(user, "password")
        sessions = APIKey.objects.filter(user=user, login_type=KeyType.SESSION)
        sessions.exclude(pk=actor.api_key_id).delete()
    return user


def suspend_user(actor: Actor, who: str) -> User:
    """Stop a person: no sign-in, and tokens and sockets end at once. Raises ChatdError 400-404."""
    person = _get_other(actor, who, bad_request("You cannot suspend yourself."))
    with changing_person(actor.author, person, keeps_owner=True) as user:
        user.status = UserStatus.SUSPENDED
        save_user(user, "status")
    return user


def activate_user(actor: Actor, who: str) -> User:
    """Let a person act again, with the tokens they had. Raises ChatdError 400, 403, 404."""
    person = _get_other(actor, who, bad_request("You are active already."))
    with changing_person(actor.author, person) as user:
        user.status = UserStatus.ACTIVE
        save_user(user, "status")
    return user


def delete_user(actor: Actor, who: str) -> None:
    """Delete a person softly: chats and costs keep their owner. Raises ChatdError 400, 403, 404."""
    person = _get_other(actor, who, forbidden("You cannot delete yourself."))
    with changing_person(actor.author, person, keeps_owner=True, action=Action.DELETE) as user:
        APIKey.objects.filter(user=user).delete()
        GroupMember.objects.filter(user=user).delete()
        OrganizationMember.objects.filter(user=user).delete()
        ExternalIdentity.objects.filter(user=user).update(access_token="", refresh_token="")
        USER_ENDINGS.carry_out(actor.author, user)
        user.deleted = True
        save_user(user, "deleted")


def set_site_roles(actor: Actor, who: str, request: Callable[[], Sequence[str]]) -> User:
    """Replace the site roles of a person. Raises ChatdError 400, 403, 404."""
    person = get_user_for(actor.user, who, SiteRight.USERS_UPDATE)
    _check_grants(actor, SiteRole.values)
    wanted = request()
    findings = Findings()
    findings.each_of("roles", wanted, SiteRole.values)
    findings.check()
    with changing_person(actor.author, person, keeps_owner=SiteRole.OWNER not in wanted) as user:
        user.rbac_roles = [role.value for role in SiteRole if role in wanted]
        save_user(user, "rbac_roles")
    return user


def set_login_type(actor: Actor, who: str, login_type: str) -> User:
    """Change how somebody else signs in; their sessions end, API tokens go on working.

    To the identity provider: whoever it says has their e-mail address becomes them at the next
    sign-in. Away from it: who they were there is forgotten. Raises ChatdError 400, 403, 404.
    """
    oneself = bad_request("You cannot change how you sign in yourself.")
    person = _get_other(actor, who, oneself)
    findings = Findings()
    findings.one_of("login_type", login_type, LoginType.values)
    findings.check()
    if person.login_type == login_type:
        return person
    with changing_person(actor.author, person) as user:
        user.login_type = login_type
        user.set_unusable_password()
        save_user(user, "login_type", "password")
        APIKey.objects.filter(user=user, login_type=KeyType.SESSION).delete()
        ExternalIdentity.objects.filter(user=user).delete()
    return user


# one change of one person


@contextmanager
def changing_person(
    author: Author, person: User, *, keeps_owner: bool = False, action: Action = Action.WRITE
) -> Iterator[User]:
    """Lock a person for a change, with an entry for it; then tell their sockets.

    `keeps_owner`: refuse when the person is the last owner who can act.
    """

    def read() -> dict[str, Any]:
        return user_fields(lock_person(person.pk)[0])

    with audited(author, user_resource(person), read, action=action):
        user, owners = lock_person(person.pk)
        if user.deleted:
            raise not_found()
        if keeps_owner and user.is_owner and not owners - {user.pk}:
            raise bad_request(
                "The deployment must keep an owner who can act.",
                detail="Make somebody else an owner first.",
            )
        yield user
        tell_sockets_of([user.pk])


def lock_person(user_id: UUID) -> tuple[User, set[UUID]]:
    """Lock a person and, in one order, all who hold site roles; return them and active owners."""
    rows = User.objects.select_for_update(no_key=True).filter(Q(pk=user_id) | ~Q(rbac_roles=[]))
    people = {user.pk: user for user in rows.order_by("pk")}
    owners = {user.pk for user in people.values() if user.is_owner and user.is_active}
    return people[user_id], owners


def _get_other(actor: Actor, who: str, oneself: ChatdError) -> User:
    """Return somebody else whom the actor may change. Raises `oneself` for themselves."""
    person = get_user_for(actor.user, who, SiteRight.USERS_UPDATE)
    if person.pk != actor.user.pk:
        return person
    if SiteRight.USERS_UPDATE not in site_rights(actor.user):
        raise forbidden(detail="You may not do this with this person.")
    raise oneself


def save_user(user: User, *fields: str) -> None:
    user.updated_at = now()
    user.save(update_fields=[*fields, "updated_at"])


def user_fields(user: User) -> dict[str, Any]:
    """Return what the audit log compares; the password is masked there, and here only a hash."""
    return {
        "username": user.username,
        "email": user.email,
        "name": user.name,
        "password": user.password,
        "status": str(user.status),
        "login_type": str(user.login_type),
        "roles": list(user.rbac_roles),
        "deleted": user.deleted,
    }


# checks


def _checked(wanted: NewUser) -> list[Organization]:
    """Return the organisations of a new person. Raises the 400 with all that is wrong."""
    findings = Findings()
    findings.username(wanted.username)
    findings.email(wanted.email)
    findings.text("name", wanted.name)
    login_type = wanted.login_type or LoginType.PASSWORD
    findings.one_of("login_type", login_type, LoginType.values)
    findings.one_of("user_status", wanted.status or UserStatus.ACTIVE, NEW_STATUSES)
    findings.each_of("roles", wanted.roles, SiteRole.values)
    if login_type == LoginType.PASSWORD and not wanted.password:
        findings.add("password", "required", "", "is needed by who signs in with a password.")
    if login_type in (LoginType.NONE, LoginType.OIDC) and wanted.password:
        findings.add("password", "excluded", "", "is only for who signs in with a password.")
    organizations = _organizations(wanted.organization_ids, findings)
    findings.check()
    return organizations


def _organizations(ids: Sequence[UUID], findings: Findings) -> list[Organization]:
    if not ids:
        return [default_organization()]
    found = {row.pk: row for row in Organization.objects.filter(pk__in=ids, deleted=False)}
    for missing in dict.fromkeys(ids):
        if missing not in found:
            findings.add("organization_ids", "exists", str(missing), "has an id that there is not.")
    return list(found.values())


def _check_grants(actor: Actor, roles: Sequence[str]) -> None:
    """Raise the 403 unless the actor may give every one of these roles."""
    allowed = site_grants(actor.user)
    if SiteRight.USERS_UPDATE not in site_rights(actor.user):
        allowed = frozenset()
    beyond = sorted(set(roles) - allowed)
    if beyond:
        raise forbidden(detail=f"You may not give or take the roles: {', '.join(beyond)}.")
