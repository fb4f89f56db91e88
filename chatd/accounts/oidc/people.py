"""Who signs in with an identity provider: found, made, or refused, in one transaction.

A person is who the provider's issuer and subject say. An e-mail address only counts once, when the
provider has verified it, to find an account that an administrator meant for single sign-on: an
account with a password is never taken over.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from django.db import IntegrityError, transaction

from chatd.accounts.actions import default_organization, new_user, store_user
from chatd.accounts.locks import lock_user
from chatd.accounts.models import ExternalIdentity, LoginType, User, UserStatus
from chatd.accounts.oidc.claims import Claimed, numbered, read_claims, username_bases
from chatd.accounts.oidc.groups import sync_groups, sync_roles
from chatd.accounts.oidc.refusals import ASK, SignInRefusedError
from chatd.accounts.oidc.tokens import sealed_tokens
from chatd.accounts.sign_in import SUSPENDED, note_sign_in
from chatd.accounts.users import lock_person, save_user, user_fields, user_resource
from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import ChatdError
from config.env import SingleSignOn

log = structlog.get_logger(__name__)

PROVIDER = Author(None, "single sign-on")
"""Who made the changes that follow from what a provider says."""


class _ChangedMeanwhileError(Exception):
    """Somebody took the name, or changed the person, or signed in at once: look again."""


MAX_TRIES = 5
MAX_NUMBER = 1000


def sign_in_claimed(
    configured: SingleSignOn, claims: Mapping[str, Any], tokens: Mapping[str, Any]
) -> User:
    """Return the person that verified claims are about, with the groups that they say.

    Raises SignInRefusedError, with an entry in the audit log.
    """
    claimed = read_claims(claims, configured)
    try:
        for _ in range(MAX_TRIES):
            try:
                with transaction.atomic():
                    return _sign_in(configured, claimed, tokens)
            except (IntegrityError, _ChangedMeanwhileError):
                continue
    except SignInRefusedError as refused:
        _record(claimed, refused)
        raise
    raise _refused("Too much changed at once.", "Start again.", reason="lost every race")


def _sign_in(configured: SingleSignOn, claimed: Claimed, tokens: Mapping[str, Any]) -> User:
    _check_email_domain(configured, claimed)
    user = _known(claimed) or _meant(claimed) or _created(configured, claimed)
    user = _locked(configured, user)
    if user.status == UserStatus.SUSPENDED:
        raise _refused(SUSPENDED, "", reason="suspended", person=user)
    _follow_email(user, claimed)
    notes: list[str] = []
    if claimed.groups is not None:
        kept = sync_roles(PROVIDER, user, claimed.groups, configured)
        notes = [*claimed.groups.notes, *sync_groups(PROVIDER, user, claimed.groups, configured)]
        notes += [kept] if kept else []
    shown = claimed.groups.shown if claimed.groups else None
    ExternalIdentity.objects.update_or_create(
        issuer=claimed.issuer,
        subject=claimed.subject,
        defaults={
            "user": user,
            "received_at": now(),
            "received_groups": None if shown is None else list(shown),
            "received_note": " ".join(notes),
            **sealed_tokens(tokens),
        },
    )
    note_sign_in(user)
    return user


# finding


def _known(claimed: Claimed) -> User | None:
    """Return who signed in so before. Somebody deleted is known too, unless they came anew."""
    identity = (
        ExternalIdentity.objects.select_related("user")
        .filter(issuer=claimed.issuer, subject=claimed.subject)
        .first()
    )
    if identity is None:
        return None
    if not identity.user.deleted:
        return _single_sign_on_only(identity.user)
    again = _meant(claimed)
    if again is None:
        raise _refused(
            "Your account was deleted.",
            "Ask an administrator to make a new one for single sign-on, with your e-mail address.",
            reason="deleted",
            person=identity.user,
        )
    return again


def _meant(claimed: Claimed) -> User | None:
    """Return an account that waits for whoever has its e-mail address.

    Raises SignInRefusedError.
    """
    found = User.objects.mailed(claimed.email).first() if claimed.email else None
    if found is None:
        return None
    if not claimed.email_verified:
        raise _unverified(found)
    _single_sign_on_only(found)
    if found.identities.filter(issuer=claimed.issuer).exists():
        raise _refused(
            "The account with your e-mail address belongs to somebody else at the identity"
            " provider.",
            ASK,
            reason="account of another subject",
            person=found,
        )
    linked = {"identity": f"{claimed.subject} at {claimed.issuer}"}
    record(PROVIDER, Action.WRITE, user_resource(found), after=linked)
    return found


def _single_sign_on_only(found: User) -> User:
    if found.login_type == LoginType.OIDC:
        return found
    raise _refused(
        "There is an account with your e-mail address that does not use single sign-on.",
        "Sign in as you did before, or ask an administrator to switch the account to single"
        " sign-on.",
        reason="account of another login type",
        person=found,
    )


def _created(configured: SingleSignOn, claimed: Claimed) -> User:
    """Make a person as the claims describe them. Raises SignInRefusedError."""
    if not configured.create_people:
        raise _refused("There is no account for you here yet.", ASK, reason="unknown person")
    if not claimed.email:
        raise _refused(
            "The identity provider did not tell your e-mail address.",
            "Ask an administrator: the provider has to send it to this site.",
            reason="no e-mail",
        )
    if not claimed.email_verified:
        raise _unverified()
    user = new_user(
        username=_free_name(claimed),
        email=claimed.email,
        password=None,
        name=claimed.name,
        login_type=LoginType.OIDC,
    )
    organization = default_organization()
    try:
        store_user(user, [organization])
    except ChatdError:
        raise _ChangedMeanwhileError from None
    after = user_fields(user) | {
        "organizations": [organization.name],
        "identity": f"{claimed.subject} at {claimed.issuer}",
    }
    record(PROVIDER, Action.CREATE, user_resource(user), after=after)
    return user


def _free_name(claimed: Claimed) -> str:
    for number in range(1, MAX_NUMBER):
        for base in username_bases(claimed):
            name = numbered(base, number)
            if not User.objects.named(name).exists():
                return name
    raise _refused("No user name is left for you.", ASK, reason="every name is taken")


def _locked(configured: SingleSignOn, user: User) -> User:
    """Hold a person until the commit, with all others who hold roles where roles may change."""
    if configured.roles:
        locked: User | None = lock_person(user.pk)[0]
    else:
        locked = lock_user(user.pk)
    if locked is None or locked.deleted or locked.login_type != LoginType.OIDC:
        raise _ChangedMeanwhileError
    return locked


# checking


def _check_email_domain(configured: SingleSignOn, claimed: Claimed) -> None:
    if not configured.email_domains:
        return
    if claimed.email and not claimed.email_verified:
        raise _unverified()
    domain = claimed.email.rpartition("@")[2].lower()
    if domain not in configured.email_domains:
        raise _refused(
            "People with your e-mail address may not sign in here.",
            f"Use an address that ends in {' or '.join(configured.email_domains)}, or ask an"
            " administrator.",
            reason="domain not allowed",
        )


def _unverified(person: User | None = None) -> SignInRefusedError:
    return _refused(
        "The identity provider has not verified your e-mail address.",
        "Confirm the address there, then start again.",
        reason="e-mail not verified",
        person=person,
    )


def _refused(
    message: str, detail: str, *, reason: str, person: User | None = None
) -> SignInRefusedError:
    return SignInRefusedError(message, detail, reason=reason, person=person)


def _follow_email(user: User, claimed: Claimed) -> None:
    """Take over a verified address that changed at the provider, unless somebody else has it."""
    if not (claimed.email and claimed.email_verified) or user.email == claimed.email:
        return
    if User.objects.mailed(claimed.email).exclude(pk=user.pk).exists():
        log.warning("an e-mail address is not followed: it is taken", user=str(user.pk))
        return
    before = user_fields(user)
    user.email = claimed.email
    save_user(user, "email")
    record(PROVIDER, Action.WRITE, user_resource(user), before=before, after=user_fields(user))


def _record(claimed: Claimed, refused: SignInRefusedError) -> None:
    """Leave an entry of a refused sign-in: of the person, or of who is unknown here."""
    resource = Resource("user", "", claimed.email or claimed.subject)
    if refused.person is not None:
        resource = user_resource(refused.person)
    record(PROVIDER, Action.LOGIN, resource, refused=refused.message)
