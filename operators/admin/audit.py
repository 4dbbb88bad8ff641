"""The admin's page of the audit trail: read-only, newest first."""

import json
from typing import Any

from django.contrib import admin
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from operators.admin.display import cell, moment, shortened
from operators.admin.large_tables import ReadOnlyAdmin
from operators.models import AuditRecord


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    """Each act with its actor, time, origin and changes."""

    list_display = ("time", "actor", "address", "act", "on", "change", "note_start")
    list_filter = ("act", "object_type")
    search_fields = ("object", "actor")
    search_help_text = "The exact symbol, id or name of an object, or the exact actor."
    fields = ("time", "actor", "address", "act", ("object_type", "object"), "was", "became", "note")
    readonly_fields = ("time", "was", "became")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditRecord], search_term: str
    ) -> tuple[QuerySet[AuditRecord], bool]:
        """Match exactly, so that both conditions use their indexes."""
        text = search_term.strip()
        return (queryset.filter(Q(object=text) | Q(actor=text)) if text else queryset), False

    time = cell("time", lambda record: moment(record.recorded_at))

    @admin.display(description="object")
    def on(self, record: AuditRecord) -> SafeString:
        is_long = len(record.object) > 24
        shown = f"{record.object[:8]}…" if is_long else record.object
        return format_html('{} <span title="{}">{}</span>', record.object_type, record.object, shown)

    change = cell("change", lambda record: format_html('<span class="wraps">{}</span>', change_text(record)))
    note_start = cell("note", lambda record: shortened(record.note))
    was = cell("before", lambda record: _as_json(record.before))
    became = cell("after", lambda record: _as_json(record.after))


def change_text(record: AuditRecord) -> str:
    """Return the first few changed fields, such as `status: active → halted`."""
    before, after = record.before or {}, record.after or {}
    if record.before is not None and record.after is not None:
        parts = [
            f"{name}: {_short(before.get(name))} → {_short(after.get(name))}" for name in {**before, **after}
        ]
    else:
        parts = [f"{name}: {_short(value)}" for name, value in {**before, **after}.items() if name != "id"]
    return ", ".join(parts[:4]) + (", …" if len(parts) > 4 else "")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, cls=DjangoJSONEncoder)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _as_json(state: Any) -> SafeString:
    return format_html("<pre>{}</pre>", json.dumps(state, indent=2, cls=DjangoJSONEncoder))
