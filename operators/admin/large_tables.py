"""Read-only admin pages for tables of many millions of rows. Queries do not read whole tables.

Counting stops at ADMIN_ROWS_MAX, and rows are sorted only by primary key. If keys grow with time
(UUID version 7), the drill-down by date uses the key's index. Filters, search and dates reach older
rows. Known limit: a filter that matches almost nothing still reads every row.
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


class _BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts at most ADMIN_ROWS_MAX rows, and so shows no more."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: settings.ADMIN_ROWS_MAX].count())


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]
    """Shows rows that nobody may add, change or delete in the admin."""

    ordering = ("-pk",)
    sortable_by = ()
    list_per_page = 100
    list_fullwidth = True
    list_max_show_all = 0
    show_full_result_count = False
    paginator = _BoundedPaginator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class TimeKeyAdmin(ReadOnlyAdmin):
    """For rows with UUIDs of version 7 as keys. `date_hierarchy` names the field of their time."""

    change_list_template = "admin/time_key_change_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return _TimeKeyChangeList


class _TimeKeyChangeList(ChangeList):
    """If a year, month or day is chosen, reads only the keys of that time."""

    def get_filters(self, request: HttpRequest) -> Any:
        filters: Any = super().get_filters(request)
        lookups: dict[str, list[Any]] = filters[2]
        for lookup, margin in (("gte", -CLOCK_DIFFERENCE_MAX), ("lt", CLOCK_DIFFERENCE_MAX)):
            moment = lookups.get(f"{self.date_hierarchy}__{lookup}", [None])[-1]
            if isinstance(moment, datetime):
                lookups[f"pk__{lookup}"] = [first_key(moment + margin)]
        return filters
