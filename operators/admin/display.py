"""Formats ids, times and links: short in a table, with the full value as the title."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from base.times import time_text

_SHORT_TEXT_CHARACTERS = 16

_TONES = {
    "active": "good",
    "open": "good",
    "partially_filled": "good",
    "pending": "good",
    "halted": "bad",
    "rejected": "bad",
    "cancelled": "dim",
}


def cell(description: str, show: Callable[[Any], Any], *, ordering: str | None = None) -> Any:
    """Return a method of an admin class, for a column or a field that shows `show(row)`."""

    @admin.display(description=description, ordering=ordering)
    def method(page: Any, row: Any) -> Any:
        return show(row)

    return method


def short_id(key: object) -> SafeString:
    """Shorten a UUID of version 7 to the digits of its minute and its last digits."""
    text = str(key)
    return format_html('<span class="mono" title="{}">{}…{}</span>', text, text[:8], text[-6:])


def shortened(text: str) -> SafeString:
    """Shorten a text that a client has chosen. The title has the full text."""
    if len(text) <= _SHORT_TEXT_CHARACTERS:
        return format_html("{}", text)
    return format_html('<span title="{}">{}…</span>', text, text[:_SHORT_TEXT_CHARACTERS])


def moment(time: datetime | None) -> SafeString | None:
    """Format a time as RFC 3339 in UTC, with milliseconds. In a narrow list it takes two lines."""
    if time is None:
        return None
    day, _, rest = time_text(time).partition("T")
    text = '<time class="mono" datetime="{0}T{1}"><span>{0}T</span><wbr><span>{1}</span></time>'
    return format_html(text, day, rest)


def status_tag(status: str, label: str | None = None) -> SafeString:
    return format_html('<span class="tag {}">{}</span>', _TONES.get(status, "plain"), label or status)


def admin_link(model: type[Model], key: object, text: object) -> SafeString:
    """Return a link to a row's page."""
    options = model._meta
    url = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[key])
    return format_html('<a href="{}">{}</a>', url, text)
