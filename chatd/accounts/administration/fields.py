"""Fields of the forms: roles with what each of them lets somebody do."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django import forms
from django.db.models import TextChoices
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chatd.accounts.role_words import ROLE_WORDS
from chatd.core.admin_fields import CheckboxSelectMultiple


class RolesWidget(CheckboxSelectMultiple):
    """Checkboxes, of which those of `fixed` roles stay as they are."""

    fixed: Collection[str] = ()

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option: dict[str, Any] = super().create_option(name, value, *args, **kwargs)
        if str(value) in self.fixed:
            option["attrs"]["disabled"] = True
        return option


class RolesField(forms.MultipleChoiceField):
    """Roles to hold. What the acting person may not give or take away stays as it was."""

    widget: RolesWidget

    def __init__(
        self, roles: type[TextChoices], *, with_words: bool = True, **options: Any
    ) -> None:
        choices = [(role.value, _label(role, with_words=with_words)) for role in roles]
        super().__init__(choices=choices, required=False, widget=RolesWidget(), **options)
        self.held: frozenset[str] = frozenset()

    def limit(self, *, held: Iterable[str], grants: Collection[str]) -> None:
        """Leave to change only what is in `grants`."""
        self.held = frozenset(held)
        fixed = {str(value) for value, _ in self.choices if value not in grants}  # type: ignore[union-attr,misc]
        self.widget.fixed = fixed

    def clean(self, value: Any) -> list[str]:
        return self._allowed(super().clean(value))

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(self._allowed(data or ())) != set(initial or ())

    def _allowed(self, chosen: Sequence[str]) -> list[str]:
        """Return the choice without what is not the acting person's to change, in one order."""
        fixed = set(self.widget.fixed)
        wanted = (set(chosen) - fixed) | (self.held & fixed)
        return [str(each) for each, _ in self.choices if each in wanted]  # type: ignore[union-attr,misc]


def _label(role: TextChoices, *, with_words: bool) -> str | SafeString:
    if not with_words:
        return str(role.label)
    words = ROLE_WORDS[role.value]
    sentence = f"{words[0].upper()}{words[1:]}."
    return format_html('{}<span class="role-words">{}</span>', role.label, sentence)
