"""Entries of the audit log. `actions.record` alone writes them; nothing changes one."""

from django.db import models

from chatd.core.clock import now
from chatd.core.fields import NulSafeJSONField


class Action(models.TextChoices):
    CREATE = "create", "Created"
    WRITE = "write", "Changed"
    DELETE = "delete", "Deleted"
    LOGIN = "login", "Signed in"
    LOGOUT = "logout", "Signed out"


class AuditEntry(models.Model):
    """One change, or one that was refused. It names people and things by id and by name then:
    the entry outlives them.

    `changes` maps a field to `{"old": …, "new": …}`; secrets are masked before they come here.
    `actor_id` is NULL for what the deployment did by itself.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=now, editable=False)
    actor_id = models.UUIDField(null=True, blank=True)
    actor_name = models.CharField(max_length=64, blank=True, default="")
    api_key_id = models.CharField(max_length=10, blank=True, default="")
    address = models.GenericIPAddressField(null=True, blank=True)
    correlation_id = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=8, choices=Action.choices)
    resource_type = models.CharField(max_length=32)
    resource_id = models.CharField(max_length=64, blank=True, default="")
    resource_name = models.CharField(max_length=256, blank=True, default="")
    organization_id = models.UUIDField(null=True, blank=True)
    refused = models.TextField(blank=True, default="")
    changes = NulSafeJSONField(default=dict, blank=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["-at", "-id"], name="audit_newest"),
            models.Index(fields=["resource_type", "resource_id", "-id"], name="audit_by_resource"),
            models.Index(fields=["actor_id", "-id"], name="audit_by_actor"),
            models.Index(fields=["actor_name", "-at", "-id"], name="audit_by_actor_name"),
            models.Index(fields=["organization_id", "-id"], name="audit_by_organization"),
        ]

    def __str__(self) -> str:
        who = self.actor_name or "chatd"
        return f"{who}: {self.get_action_display().lower()} {self.resource_type}"
