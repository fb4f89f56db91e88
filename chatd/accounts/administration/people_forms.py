"""The forms of people: a new one, one that is changed, and the organisations they are in."""

from typing import Any
from uuid import UUID

from django import forms
from django.forms import ModelForm

from chatd.accounts.administration.fields import RolesField
from chatd.accounts.administration.passwords import (
    GENERATED,
    TYPED,
    generate_password,
    how_field,
    password_field,
)
from chatd.accounts.models import (
    LoginType,
    Organization,
    OrganizationMember,
    OrganizationRole,
    SiteRole,
    User,
    UserStatus,
)
from chatd.accounts.policy import may_give_site_roles, organization_grants, site_grants
from chatd.accounts.users import NewUser
from chatd.core.admin_fields import CheckboxSelectMultiple, Select

USERNAME_HELP = "1 to 32 letters, digits and single dashes. They sign in with it."
ROLES_HELP = "Roles in the whole deployment. Most people need none: whoever is in an organisation"
ROLES_HELP += " may have chats there."
FIXED_ROLES = "Only a site owner gives and takes roles of the whole deployment."
LABELS = {"username": "User name", "email": "E-mail"}
LOGIN_HELP = (
    "Password: they sign in here. OpenID Connect: they sign in with your identity provider."
)
LOGIN_HELP += " None: nobody can sign in."


def open_organizations(user: User) -> list[Organization]:
    """Return the organisations to which a user may add people, by name."""
    joined = {member.organization_id: member for member in user.memberships.all()}
    return [
        organization
        for organization in Organization.objects.filter(deleted=False).order_by("name")
        if set(organization.default_org_member_roles)
        <= organization_grants(user, joined.get(organization.pk))
    ]


class NewPersonForm(ModelForm[User]):
    """Somebody who is to be made; `actor` is who makes them."""

    actor: User

    login_type = forms.ChoiceField(
        label="How they sign in",
        choices=LoginType.choices,
        initial=LoginType.PASSWORD,
        widget=Select(),
        help_text=LOGIN_HELP,
    )
    how = how_field()
    password = password_field(
        help_text="At least 8 characters, not easy to guess. Only when you type one."
    )
    organizations = forms.MultipleChoiceField(
        label="Organisations",
        required=False,
        widget=CheckboxSelectMultiple(),
        help_text="Where they may have chats. None: the default one.",
    )
    rbac_roles = RolesField(SiteRole, label="Roles", help_text=ROLES_HELP)

    class Meta:
        model = User
        fields = ("username", "email", "name")
        labels = LABELS
        help_texts = {"username": USERNAME_HELP, "name": "As others see it; may be left empty."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].required = True
        grants = site_grants(self.actor) if may_give_site_roles(self.actor) else frozenset()
        self.fields["rbac_roles"].limit(held=(), grants=grants)  # type: ignore[attr-defined]
        self.fields["rbac_roles"].help_text = ROLES_HELP if grants else FIXED_ROLES
        found = open_organizations(self.actor)
        self.fields["organizations"].choices = [(str(row.pk), str(row)) for row in found]  # type: ignore[attr-defined]
        self.fields["organizations"].initial = [str(row.pk) for row in found if row.is_default]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        signs_in_here = cleaned.get("login_type") == LoginType.PASSWORD
        is_typed = cleaned.get("how") == TYPED
        if signs_in_here and is_typed and not cleaned.get("password"):
            self.add_error("password", "Type a password, or have one made.")
        return cleaned

    @property
    def is_password_made(self) -> bool:
        """Is the password one that nobody has seen yet?"""
        wanted = self.cleaned_data
        return wanted["login_type"] == LoginType.PASSWORD and wanted["how"] in (GENERATED, "")

    def draft(self) -> NewUser:
        """Return the person that the form asks for."""
        wanted, password = self.cleaned_data, ""
        if wanted["login_type"] == LoginType.PASSWORD:
            password = generate_password() if self.is_password_made else wanted["password"]
        return NewUser(
            username=wanted["username"],
            email=wanted["email"],
            name=wanted["name"],
            password=password,
            login_type=wanted["login_type"],
            organization_ids=[UUID(text) for text in wanted["organizations"]],
            roles=wanted["rbac_roles"],
        )

    def _post_clean(self) -> None:
        """Leave the rest to the action: the row is not this form's to build."""


class PersonForm(ModelForm[User]):
    """Somebody who is there; `actor` is who changes them."""

    actor: User

    rbac_roles = RolesField(SiteRole, label="Roles", help_text=ROLES_HELP)

    class Meta:
        model = User
        fields = ("username", "email", "name", "status")
        labels = LABELS
        help_texts = {
            "username": USERNAME_HELP,
            "status": "Suspended people cannot sign in; their tokens and open pages stop at once.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if (roles := self.fields.get("rbac_roles")) is not None:
            grants = site_grants(self.actor) if may_give_site_roles(self.actor) else frozenset()
            roles.help_text = ROLES_HELP if grants else FIXED_ROLES
            roles.limit(held=self.instance.rbac_roles, grants=grants)  # type: ignore[attr-defined]
        if (status := self.fields.get("status")) is not None:
            dormant = self.instance.status == UserStatus.DORMANT
            status.choices = [  # type: ignore[attr-defined]
                each for each in UserStatus.choices if dormant or each[0] != UserStatus.DORMANT
            ]

    def _get_validation_exclusions(self) -> set[str]:
        """The action says in words what is taken."""
        return super()._get_validation_exclusions() | {"username", "email"}  # type: ignore[no-any-return,misc]


class MembershipForm(ModelForm[OrganizationMember]):
    """An organisation somebody is in; which one it is cannot be changed once they are."""

    actor: User
    open_to_actor: list[Organization]
    joined_by_actor: dict[Any, OrganizationMember]

    roles = RolesField(OrganizationRole, with_words=False, label="Roles beyond those of everybody")

    class Meta:
        model = OrganizationMember
        fields = ("organization", "roles")
        labels = {"organization": "Organisation"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        member, where = self.instance, self.fields["organization"]
        if member.pk:
            where.disabled = True
            where.queryset = Organization.objects.filter(pk=member.organization_id)  # type: ignore[attr-defined]
            where.choices = [(member.organization_id, str(member.organization))]  # type: ignore[attr-defined]
            own = self.joined_by_actor.get(member.organization_id)
            grants = organization_grants(self.actor, own)
        else:
            ids = [row.pk for row in self.open_to_actor]
            where.queryset = Organization.objects.filter(pk__in=ids)  # type: ignore[attr-defined]
            where.choices = [("", "Choose an organisation"), *_choices(self.open_to_actor)]  # type: ignore[attr-defined]
            grants = organization_grants(self.actor, None)
        self.fields["roles"].limit(held=member.roles if member.pk else (), grants=grants)  # type: ignore[attr-defined]


def _choices(organizations: list[Organization]) -> list[tuple[Any, str]]:
    return [(row.pk, str(row)) for row in organizations]
