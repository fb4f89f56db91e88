"""Users, organisations, membership and API tokens. Changes go through `actions`."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from chatd.core.clock import now
from chatd.core.fields import EncryptedTextField, NulSafeJSONField


class SiteRole(models.TextChoices):
    """Roles that hold in every organisation."""

    OWNER = "owner", "Site owner"
    AUDITOR = "auditor", "Auditor"
    USER_ADMIN = "user-admin", "User admin"


class OrganizationRole(models.TextChoices):
    """Roles inside one organisation."""

    ADMIN = "organization-admin", "Organisation admin"
    AUDITOR = "organization-auditor", "Organisation auditor"
    AGENTS_ACCESS = "agents-access", "Agents user"


class UserStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    DORMANT = "dormant", "Dormant"


class LoginType(models.TextChoices):
    PASSWORD = "password", "Password"
    OIDC = "oidc", "OpenID Connect"
    NONE = "none", "None"


def default_member_roles() -> list[str]:
    return [OrganizationRole.AGENTS_ACCESS.value]


class Organization(models.Model):
    """A tenant of the deployment; chats belong to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=64)
    display_name = models.CharField(max_length=128, blank=True, default="")
    description = models.TextField(blank=True, default="")
    icon = models.CharField(max_length=256, blank=True, default="")
    is_default = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    default_org_member_roles = models.JSONField(default=default_member_roles, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "organisation"
        constraints = [
            models.UniqueConstraint(
                Lower("name"), condition=Q(deleted=False), name="organization_name_unique"
            ),
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True),
                name="organization_single_default",
            ),
        ]

    def __str__(self) -> str:
        return self.display_name or self.name


class UserManager(BaseUserManager["User"]):
    """Lookups that leave out deleted people."""

    def live(self) -> "models.QuerySet[User]":
        return self.get_queryset().filter(deleted=False)

    def named(self, name: str) -> "models.QuerySet[User]":
        """Return the live user of this name, in any letter case, by the index on names."""
        return self.live().alias(lower_name=Lower("username")).filter(lower_name=_lower(name))

    def mailed(self, email: str) -> "models.QuerySet[User]":
        """Return the live user of this e-mail address, in any letter case, by the index."""
        found = self.live().exclude(email="").alias(lower_email=Lower("email"))
        return found.filter(lower_email=_lower(email))

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.named(username or "").get()


def _lower(text: str) -> Lower:
    return Lower(models.Value(text))


class User(AbstractBaseUser):
    """A person or a service account. Deleting is soft: chats and costs keep their owner."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(max_length=32)
    email = models.EmailField(max_length=254, blank=True, default="")
    name = models.CharField(max_length=128, blank=True, default="")
    avatar_url = models.CharField(max_length=512, blank=True, default="")
    status = models.CharField(max_length=16, choices=UserStatus.choices, default=UserStatus.ACTIVE)
    rbac_roles = models.JSONField(default=list, blank=True)
    login_type = models.CharField(
        max_length=16, choices=LoginType.choices, default=LoginType.PASSWORD
    )
    deleted = models.BooleanField(default=False)
    is_system = models.BooleanField(default=False)
    is_service_account = models.BooleanField(default=False)
    chat_spend_limit_micros = models.BigIntegerField(null=True, blank=True)
    last_seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    scopes: frozenset[str] = frozenset()
    """What the API token that a request came with is limited to; empty is everything. Not stored:
    it narrows every right that `policy` tells of the person."""

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["email"]

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"
        constraints = [
            models.UniqueConstraint(
                Lower("username"), condition=Q(deleted=False), name="user_username_unique"
            ),
            models.UniqueConstraint(
                Lower("email"),
                condition=Q(deleted=False) & ~Q(email=""),
                name="user_email_unique",
            ),
            models.CheckConstraint(
                condition=Q(chat_spend_limit_micros=None) | Q(chat_spend_limit_micros__gt=0),
                name="user_spend_limit_positive",
            ),
        ]
        indexes = [
            # Every change of a person holds the few who have site roles.
            models.Index(fields=["id"], condition=~Q(rbac_roles=[]), name="user_with_site_roles"),
        ]

    def __str__(self) -> str:
        return self.username

    @property
    def is_active(self) -> bool:  # type: ignore[override]
        """May sign in and act. Dormant people wake by signing in."""
        return not self.deleted and self.status != UserStatus.SUSPENDED

    @property
    def is_owner(self) -> bool:
        return SiteRole.OWNER in self.rbac_roles

    # What django.contrib.admin asks for

    @property
    def is_staff(self) -> bool:
        """May open the administration: every site role has something to see there."""
        return self.is_active and not set(SiteRole.values).isdisjoint(self.rbac_roles)

    @property
    def is_superuser(self) -> bool:
        return self.is_active and self.is_owner

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Tell whether the person may `app.action_model` in the administration."""
        from chatd.accounts.policy import may_administer  # it imports this module

        return may_administer(self, perm)

    def has_perms(self, perm_list: Any, obj: Any = None) -> bool:
        return all(self.has_perm(perm) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        return self.is_staff

    def get_full_name(self) -> str:
        return self.name or self.username

    def get_short_name(self) -> str:
        return self.username


class OrganizationMember(models.Model):
    """Membership with the roles granted beyond the organisation's default member roles."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    roles = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="member_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"

    @property
    def effective_roles(self) -> frozenset[str]:
        return frozenset(self.roles) | frozenset(self.organization.default_org_member_roles)


class GroupSource(models.TextChoices):
    USER = "user", "Made by hand"
    OIDC = "oidc", "From the identity provider"


class Group(models.Model):
    """A set of an organisation's members. The one whose id is the organisation's is everyone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="member_groups"
    )
    name = models.CharField(max_length=36)
    display_name = models.CharField(max_length=128, blank=True, default="")
    avatar_url = models.CharField(max_length=512, blank=True, default="")
    quota_allowance = models.IntegerField(default=0)
    source = models.CharField(max_length=8, choices=GroupSource.choices, default=GroupSource.USER)
    chat_spend_limit_micros = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "organization", Lower("name"), name="group_name_unique_in_organization"
            ),
            models.CheckConstraint(
                condition=Q(chat_spend_limit_micros=None) | Q(chat_spend_limit_micros__gt=0),
                name="group_spend_limit_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.display_name or self.name

    @property
    def is_everyone(self) -> bool:
        """Everyone in the organisation; has no rows of its own in GroupMember."""
        return self.pk == self.organization_id


class GroupMember(models.Model):
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="group_memberships")
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["group", "user"], name="group_member_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.group}"


class KeyType(models.TextChoices):
    """How a key came to be."""

    TOKEN = "token", "API token"
    SESSION = "password", "Signed in with a password"


class APIKey(models.Model):
    """A session token `<id>-<secret>`; only the SHA-256 of the secret is stored."""

    id = models.CharField(primary_key=True, max_length=10, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    hashed_secret = models.CharField(max_length=64, editable=False)
    token_name = models.CharField(max_length=64, blank=True, default="")
    login_type = models.CharField(max_length=16, default=KeyType.TOKEN, editable=False)
    scopes = models.JSONField(default=list, blank=True)
    lifetime_seconds = models.BigIntegerField(editable=False)
    expires_at = models.DateTimeField()
    last_used = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "API token"
        constraints = [
            models.UniqueConstraint(
                fields=["user", "token_name"],
                condition=~Q(token_name=""),
                name="api_key_name_unique",
            ),
        ]
        indexes = [
            models.Index(fields=["user", "expires_at"], name="api_key_user_expiry"),
            models.Index(fields=["-created_at", "-id"], name="api_key_newest"),
        ]

    def __str__(self) -> str:
        return self.token_name or self.id


class ExternalIdentity(models.Model):
    """Who a person is at an OpenID provider, and what it said when they last signed in.

    A deleted person keeps theirs, or the next sign-in would make them anew.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=512)
    subject = models.CharField(max_length=255)
    received_at = models.DateTimeField(default=now, editable=False)
    received_groups = NulSafeJSONField(null=True, blank=True, editable=False)
    """The first values of the groups claim as it came; NULL: none came, or none is configured."""
    received_note = models.TextField(blank=True, default="", editable=False)
    """Sentences for administrators about values of that claim that had no effect."""
    access_token = EncryptedTextField(blank=True, default="", editable=False)
    refresh_token = EncryptedTextField(blank=True, default="", editable=False)
    token_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    renewing_until = models.DateTimeField(null=True, blank=True, editable=False)
    """Somebody renews the tokens: providers take a second use of a refresh token for theft."""
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name_plural = "external identities"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="identity_unique"),
            models.UniqueConstraint(fields=["user", "issuer"], name="identity_one_of_user"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"
