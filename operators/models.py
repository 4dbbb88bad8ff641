"""The audit trail: each act of an operator, with its time, origin and changes."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now

TEXT_CHARACTERS_MAX = 255


class Act(models.TextChoices):
    """The kind of an act."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    HALT = "halt"
    RESUME = "resume"
    MOVE = "move"
    CANCEL = "cancel"  # The request, recorded before the worker is asked.
    CANCEL_OUTCOME = "cancel_outcome"  # The result of the request.


class AuditRecord(models.Model):
    """One act on one object. The database refuses every UPDATE, DELETE and TRUNCATE of this table.

    Django does not manage the table, because `manage.py flush` and tests empty all managed tables.
    The app's first migration creates it.
    """

    id = models.BigAutoField(primary_key=True)
    recorded_at = models.DateTimeField(db_default=Now(), editable=False)
    actor = models.CharField(
        max_length=TEXT_CHARACTERS_MAX, help_text="a user's name, or `command line: name`"
    )
    address = models.CharField(
        max_length=TEXT_CHARACTERS_MAX, blank=True, help_text="empty at the command line"
    )
    act = models.CharField(max_length=16, choices=Act.choices)
    object_type = models.CharField(max_length=32)
    object = models.CharField(max_length=TEXT_CHARACTERS_MAX)
    before = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    note = models.TextField(blank=True)

    class Meta:
        managed = False
        db_table = "operators_auditrecord"
        ordering = ["-id"]
        verbose_name = "act of an operator"
        verbose_name_plural = "audit trail"

    def __str__(self) -> str:
        return f"{self.actor}: {self.act} {self.object_type} {self.object}"
