"""Settings as they are stored: texts by key. What they mean is in `registry`; `actions` writes."""

from django.db import models

from chatd.accounts.models import User
from chatd.core.clock import now
from chatd.core.fields import NulSafeTextField

MAX_KEY = 256


class SiteSetting(models.Model):
    """A setting of the whole deployment."""

    key = models.CharField(max_length=MAX_KEY, unique=True)
    value = NulSafeTextField()
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "setting"

    def __str__(self) -> str:
        return self.key


class UserSetting(models.Model):
    """A setting of one person."""

    # The constraint's index begins with the user.
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="settings", db_index=False
    )
    key = models.CharField(max_length=MAX_KEY)
    value = NulSafeTextField()
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "personal setting"
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="user_setting_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.user_id}"
