"""Admin of the checkpoints: where each partition's worker is, only shown."""

from django.contrib import admin

from matching.models import Checkpoint
from orders.large_tables import ReadOnlyAdmin


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """Position and lease of each partition."""

    list_display = ("partition", "position", "epoch", "owner", "lease_expires_at")
    ordering = ("partition",)
