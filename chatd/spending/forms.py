"""Forms of the page of the usage limits. They read amounts and names; actions judge and store."""

from typing import Any

from django import forms
from django.db.models.functions import Lower
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from chatd.accounts.actor import Actor
from chatd.accounts.models import Group, User
from chatd.core.action_admin import sentence
from chatd.core.errors import ChatdError
from chatd.spending.actions import (
    OF_GROUP,
    OF_USER,
    WantedLimit,
    remove_override,
    set_override,
    set_usage_limit,
)
from chatd.spending.amounts import exact_dollars, parse_dollars, refused_limit
from chatd.spending.models import UsageLimitConfig
from chatd.spending.periods import Period


class DollarsField(forms.CharField):
    """An amount that can be a limit; the value is in micros, None when nothing was written."""

    def __init__(self, **about: Any) -> None:
        attrs = {"inputmode": "decimal", "autocomplete": "off", "size": 12}
        super().__init__(widget=UnfoldAdminTextInputWidget(attrs=attrs), **about)

    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        if not text:
            return None
        try:
            micros = parse_dollars(text)
        except ValueError as wrong:
            raise forms.ValidationError(str(wrong)) from None
        if refused := refused_limit(micros):
            raise forms.ValidationError(refused)
        return micros


class LimitForm(forms.Form):
    """The limit of everybody who has no other."""

    enabled = forms.BooleanField(
        label="Limit what people spend", required=False, widget=UnfoldBooleanSwitchWidget()
    )
    amount = DollarsField(label="Each person, in US dollars", required=False)
    period = forms.ChoiceField(
        label="In a",
        choices=[(str(each), each.label.lower()) for each in Period],
        widget=UnfoldAdminSelectWidget(),
    )

    @classmethod
    def showing(cls, stored: UsageLimitConfig | None) -> "LimitForm":
        """Return the form with what is stored."""
        if stored is None:
            return cls(initial={"period": Period.MONTH})
        micros = stored.spend_limit_micros
        amount = "" if micros is None else exact_dollars(micros)
        return cls(initial={"enabled": stored.enabled, "amount": amount, "period": stored.period})

    def clean(self) -> None:
        if not self.cleaned_data.get("enabled"):
            self.errors.pop("amount", None)
            self.cleaned_data["amount"] = None
        elif self.cleaned_data.get("amount", 0) is None:
            self.add_error("amount", "Write how much each person may spend.")

    def store(self, actor: Actor) -> bool:
        """Set the limit; False when it is refused, which the form then says."""
        given = self.cleaned_data
        wanted = WantedLimit(spend_limit_micros=given["amount"], period=given["period"])
        try:
            set_usage_limit(actor, lambda: wanted)
        except ChatdError as refusal:
            self.add_error("amount", refusal.detail or sentence(refusal))
        return not self.errors


class OverrideForm(forms.Form):
    """The limit of one person; `holder` is the name that somebody writes."""

    kind: Any = OF_USER
    unknown = "There is nobody with this user name or e-mail address."
    holder = forms.CharField(label="User name or e-mail", widget=UnfoldAdminTextInputWidget())
    amount = DollarsField(label="US dollars")

    def find(self, name: str) -> User | Group | None:
        """Return whom a name means."""
        return User.objects.named(name).first() or User.objects.mailed(name).first()

    def clean_holder(self) -> User | Group:
        found = self.find(self.cleaned_data["holder"].strip())
        if found is None:
            raise forms.ValidationError(self.unknown)
        return found

    def store(self, actor: Actor) -> bool:
        """Give the limit; False when it is refused, which the form then says."""
        holder, micros = self.cleaned_data["holder"], self.cleaned_data["amount"]
        try:
            set_override(actor, self.kind, lambda: holder.pk, lambda: micros)
        except ChatdError as refusal:
            self.add_error("amount", refusal.detail or sentence(refusal))
        return not self.errors

    def remove(self, actor: Actor) -> bool:
        """Take the limit away; False when it is refused."""
        holder = self.cleaned_data.get("holder")
        if holder is None:
            return False
        self.errors.clear()  # the amount does not matter
        try:
            remove_override(actor, self.kind, lambda: holder.pk)
        except ChatdError as refusal:
            self.add_error("holder", sentence(refusal))
        return not self.errors


class GroupOverrideForm(OverrideForm):
    """The limit of everybody in a group, written as `organisation/group`."""

    kind = OF_GROUP
    unknown = "There is no such group. Write it as organisation/group."
    holder = forms.CharField(label="Organisation/group", widget=UnfoldAdminTextInputWidget())

    def find(self, name: str) -> User | Group | None:
        organization, _, group = name.lower().partition("/")
        names = {"lower_name": group.strip(), "lower_organization": organization.strip()}
        groups = Group.objects.alias(
            lower_name=Lower("name"), lower_organization=Lower("organization__name")
        )
        return groups.filter(**names, organization__deleted=False).first()


def name_of(holder: User | Group) -> str:
    """Return the name by which the forms find somebody again."""
    if isinstance(holder, Group):
        return f"{holder.organization.name}/{holder.name}"
    return holder.username
