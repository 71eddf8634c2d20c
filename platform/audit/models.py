"""The audit trail: who did what, when and from where. Rows are written once.

The database itself refuses to change or delete them (a trigger, see the migrations), except within
`audit.services.deletion_allowed`.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.models import OrganizationOwned


class ActorType(models.TextChoices):
    USER = "user", "User"
    API_KEY = "api_key", "API key"
    SYSTEM = "system", "System"
    ANONYMOUS = "anonymous", "Anonymous"


class AuditEntry(OrganizationOwned):
    """People, keys and objects are named by id and label rather than by foreign keys: the entry outlives them."""

    organization = models.ForeignKey(  # type: ignore[assignment]  # narrower in the base class
        "accounts.Organization",
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
        help_text="Empty for what concerns none, such as a log-in with an unknown address.",
    )
    action = models.CharField(max_length=64, help_text="What was done: `api_key.created`.")
    actor_type = models.CharField(max_length=16, choices=ActorType.choices)
    actor_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=254, blank=True)
    object_type = models.CharField(max_length=64, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_label = models.CharField(max_length=300, blank=True)
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=300, blank=True)
    request_id = models.CharField(max_length=128, blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["organization", "-created_at"], name="audit_by_time"),
            models.Index(fields=["organization", "action", "-created_at"], name="audit_by_action"),
            models.Index(fields=["created_at"], name="audit_age"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_label or self.actor_type}"
