"""Widgets of fields that a form of the administration declares itself, in the look of its library.

Fields that come from a model get theirs without this.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.forms import (
        CheckboxSelectMultiple,
        EmailInput,
        PasswordInput,
        RadioSelect,
        Select,
        Textarea,
        TextInput,
    )
else:
    from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as CheckboxSelectMultiple
    from unfold.widgets import UnfoldAdminEmailInputWidget as EmailInput
    from unfold.widgets import UnfoldAdminPasswordWidget as PasswordInput
    from unfold.widgets import UnfoldAdminRadioSelectWidget as RadioSelect
    from unfold.widgets import UnfoldAdminSelectWidget as Select
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput

__all__ = [
    "CheckboxSelectMultiple",
    "EmailInput",
    "PasswordInput",
    "RadioSelect",
    "Select",
    "TextInput",
    "Textarea",
]
