"""A base for admin classes that records every addition, change and deletion in the audit trail.

The record and the change are in one transaction.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from operators.audit import Change, actor_of, differences, record, state_of
from operators.models import Act

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object  # Django's UserAdmin must come before the theme's base class.


class Audited(_Base):
    """A mixin for an admin class. Django calls the `log_` methods in the change's transaction."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Delete the selected objects in one transaction. Django itself uses none here."""
        with transaction.atomic():
            return super().changelist_view(request, extra_context)

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Model | None:
        found = super().get_object(request, *args, **kwargs)
        if found is not None and request.method == "POST":
            request.audited_state = state_of(found)  # type: ignore[attr-defined]
        return found

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        self._record(request, Act.CREATE, obj, None, state_of(obj))
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        changed = type(obj)._default_manager.get(pk=obj.pk)
        before, after = differences(getattr(request, "audited_state", {}), state_of(changed))
        self._record(request, Act.CHANGE, obj, before, after, note=_note(message))
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for obj in queryset:
            self._record(request, Act.DELETE, obj, state_of(obj), None)
        return super().log_deletions(request, queryset)

    def _record(
        self,
        request: HttpRequest,
        act: Act,
        obj: Model,
        before: dict[str, Any] | None,
        after: dict[str, Any] | None,
        *,
        note: str = "",
    ) -> None:
        change = Change(obj._meta.model_name or "", str(obj), before, after)
        record(actor_of(request), act, [change], note=note)


class AuditedAdmin(Audited, ModelAdmin):  # type: ignore[misc]
    compressed_fields = True
    list_fullwidth = True


def _note(message: Any) -> str:
    """Return Django's message if it is text, such as for a new password, which no field shows."""
    return message if isinstance(message, str) else ""
