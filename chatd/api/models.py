"""What the API itself stores: answers to requests that carried an Idempotency-Key."""

from django.conf import settings
from django.db import models

from chatd.core.clock import now


class StoredAnswer(models.Model):
    """The answer to a write, kept for a day so that a retry gets it instead of writing again.

    Status 0 is a slow write that is being carried out, since `created_at`.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField(default=0)
    content_type = models.CharField(max_length=128, default="")
    body = models.BinaryField(default=bytes)
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="stored_answer_key_unique"),
        ]
        indexes = [models.Index(fields=["created_at"], name="stored_answer_by_age")]

    def __str__(self) -> str:
        return self.key
