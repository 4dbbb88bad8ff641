"""The admin's read-only pages of checkpoints and pruned history."""

from django.contrib import admin
from django.utils.safestring import SafeString

from matching.models import Checkpoint, PrunedHistory
from operators.admin.display import moment, short_id
from operators.admin.large_tables import ReadOnlyAdmin


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """Position and lease of each partition."""

    list_display = ("partition", "position", "epoch", "owned_by", "lease")
    fields = ("partition", "position", "epoch", "owner", "lease")
    readonly_fields = ("lease",)
    ordering = ("partition",)

    @admin.display(description="owner")
    def owned_by(self, checkpoint: Checkpoint) -> SafeString | None:
        return short_id(checkpoint.owner) if checkpoint.owner else None

    @admin.display(description="lease until")
    def lease(self, checkpoint: Checkpoint) -> SafeString | None:
        return moment(checkpoint.lease_expires_at)


@admin.register(PrunedHistory)
class PrunedHistoryAdmin(ReadOnlyAdmin):
    """The time and sequence up to which `prune` has deleted history."""

    list_display = ("instrument", "up_to", "sequence")
    list_select_related = ("instrument",)

    @admin.display(description="time")
    def up_to(self, pruned: PrunedHistory) -> SafeString | None:
        return moment(pruned.time)
