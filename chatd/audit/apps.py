"""App registration: the audit log."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "chatd.audit"
