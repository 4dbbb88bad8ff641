"""The admin's read-only pages of checkpoints and pruned history."""

from django.contrib import admin

from matching.models import Checkpoint, PrunedHistory
from operators.admin.display import cell, moment, short_id
from operators.admin.large_tables import ReadOnlyAdmin


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """Position and lease of each partition."""

    list_display = ("partition", "position", "epoch", "owned_by", "lease")
    fields = ("partition", "position", "epoch", "owner", "lease")
    readonly_fields = ("lease",)
    ordering = ("partition",)

    owned_by = cell("owner", lambda checkpoint: short_id(checkpoint.owner) if checkpoint.owner else None)
    lease = cell("lease until", lambda checkpoint: moment(checkpoint.lease_expires_at))


@admin.register(PrunedHistory)
class PrunedHistoryAdmin(ReadOnlyAdmin):
    """The time and sequence up to which `prune` has deleted history."""

    list_display = ("instrument", "up_to", "sequence")
    list_select_related = ("instrument",)

    up_to = cell("time", lambda pruned: moment(pruned.time))
