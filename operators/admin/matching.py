"""The admin's read-only page of the checkpoints: the position of each partition's worker."""

from django.contrib import admin
from django.utils.safestring import SafeString

from matching.models import Checkpoint
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
