"""Admin pages for tables of many millions of rows: read-only, and never a query that passes over all of them.

Counting stops at ADMIN_ROWS_MAX, sorting is by primary key alone, and the drill-down by date, where keys grow
with time (UUID version 7), goes through the key's index. Rows further back are reached by filter, search and
date. Known limit: a filter that matches next to nothing still has to look at every row.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

from orders.time_keys import CLOCK_DIFFERENCE_MAX, first_key


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts ADMIN_ROWS_MAX rows at most, and so shows no more."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: settings.ADMIN_ROWS_MAX].count())


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Shows what the matching worker wrote; nobody else may write it."""

    ordering = ("-pk",)
    sortable_by = ()
    list_per_page = 100
    list_fullwidth = True
    list_max_show_all = 0
    show_full_result_count = False
    paginator = BoundedPaginator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class TimeKeyAdmin(ReadOnlyAdmin):
    """For rows whose keys are UUIDs of version 7 and whose time is `date_hierarchy`."""

    change_list_template = "admin/time_key_change_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TimeKeyChangeList


class TimeKeyChangeList(ChangeList):
    """Where a year, month or day is chosen, looks at the keys of that time only."""

    def get_filters(self, request: HttpRequest) -> Any:
        filters: Any = super().get_filters(request)
        lookups: dict[str, list[Any]] = filters[2]
        for lookup, margin in (("gte", -CLOCK_DIFFERENCE_MAX), ("lt", CLOCK_DIFFERENCE_MAX)):
            moment = lookups.get(f"{self.date_hierarchy}__{lookup}", [None])[-1]
            if isinstance(moment, datetime):
                lookups[f"pk__{lookup}"] = [first_key(moment + margin)]
        return filters
