"""The admin's read-only pages of checkpoints, dead man's switches and pruned history."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from matching.models import Checkpoint, PrunedHistory
from operators.admin.display import cell, moment, short_id
from operators.admin.large_tables import ReadOnlyAdmin
from orders.models import CancelAfter


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    """Position and lease of each partition."""

    list_display = ("partition", "position", "epoch", "owned_by", "lease")
    fields = ("partition", "position", "epoch", "owner", "lease")
    readonly_fields = ("lease",)
    ordering = ("partition",)

    owned_by = cell("owner", lambda checkpoint: short_id(checkpoint.owner) if checkpoint.owner else None)
    lease = cell("lease until", lambda checkpoint: moment(checkpoint.lease_expires_at))


@admin.register(CancelAfter)
class CancelAfterAdmin(ReadOnlyAdmin):
    """The switches that are armed: when they run out, their clients' orders are cancelled."""

    list_display = ("client_id", "partition", "runs_out")
    list_filter = ("partition",)
    search_fields = ("client_id",)
    search_help_text = "The exact client id."
    fields = ("client_id", "partition", "runs_out")
    readonly_fields = ("runs_out",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CancelAfter], search_term: str
    ) -> tuple[QuerySet[CancelAfter], bool]:
        """Match exactly, as clients are named everywhere else."""
        text = search_term.strip()
        return (queryset.filter(client_id=text) if text else queryset), False

    runs_out = cell("runs out", lambda switch: moment(switch.cancel_at))


@admin.register(PrunedHistory)
class PrunedHistoryAdmin(ReadOnlyAdmin):
    """The time and sequence up to which `prune` has deleted history."""

    list_display = ("instrument", "up_to", "sequence")
    list_select_related = ("instrument",)

    up_to = cell("time", lambda pruned: moment(pruned.time))
