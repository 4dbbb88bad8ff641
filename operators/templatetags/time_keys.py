"""The drill-down by date, for tables with keys that grow with time.

Django's own drill-down queries the first, the last and every distinct date. Each of these queries
reads the whole table. Here the first and the last row by key give the range, and every year, month
or day in it is offered.
"""

from calendar import monthrange
from datetime import date
from itertools import takewhile
from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.utils.formats import date_format

register = template.Library()

_PARTS = ("year", "month", "day")


@register.inclusion_tag("admin/date_hierarchy.html")
def time_key_hierarchy(cl: ChangeList) -> dict[str, Any]:
    """Return the context for Django's own template: a link back and the periods to choose."""
    name = cl.date_hierarchy
    times = cl.model._default_manager.values_list(name, flat=True)
    first, last = times.order_by("pk").first(), times.order_by("-pk").first()
    if not name or first is None or last is None:
        return {"show": False}
    chosen = _chosen(cl, name)
    if not chosen and first.year == last.year:
        chosen = (first.year, first.month) if first.month == last.month else (first.year,)

    def link(parts: tuple[int, ...]) -> str:
        filters = {f"{name}__{part}": value for part, value in zip(_PARTS, parts, strict=False)}
        return cl.get_query_string(filters, [f"{name}__"])

    def item(parts: tuple[int, ...], *, linked: bool = True) -> dict[str, str]:
        return {"link": link(parts) if linked else "", "title": _title(parts)}

    if len(chosen) == len(_PARTS):
        choices = [item(chosen, linked=False)]
    else:
        choices = [item(parts) for parts in _within(chosen, first.date(), last.date())]
    return {"show": True, "back": item(chosen[:-1]) if chosen else None, "choices": choices}


def _chosen(cl: ChangeList, name: str) -> tuple[int, ...]:
    """Return (), (year,), (year, month) or (year, month, day). The change list has checked them."""
    values = (cl.params.get(f"{name}__{part}") for part in _PARTS)
    return tuple(int(value) for value in takewhile(bool, values) if value)


def _within(chosen: tuple[int, ...], first: date, last: date) -> list[tuple[int, ...]]:
    """Return the periods within the chosen one that lie between the first and the last row."""
    size = len(chosen) + 1
    low, high = (first.year, first.month, first.day)[:size], (last.year, last.month, last.day)[:size]
    if size == 1:
        parts = range(first.year, last.year + 1)
    elif size == 2:
        parts = range(1, 13)
    else:
        parts = range(1, monthrange(*chosen)[1] + 1)
    return [period for part in parts if low <= (period := (*chosen, part)) <= high]


def _title(parts: tuple[int, ...]) -> str:
    if not parts:
        return "All dates"
    if len(parts) == 1:
        return str(parts[0])
    day = date(parts[0], parts[1], parts[2] if len(parts) == 3 else 1)
    return date_format(day, "MONTH_DAY_FORMAT" if len(parts) == 3 else "YEAR_MONTH_FORMAT")
