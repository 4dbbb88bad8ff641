"""The admin's pages of instruments. Workers are told of each change after its commit.

Each change is recorded in the audit trail in its own transaction. Tick size and lot size are fixed.
An instrument that never had an order can be moved to another partition, or deleted.
"""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.forms.models import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from base.numbers import decimal_text
from instruments.models import ExactField, Instrument
from operators import partitions
from operators.admin.audited import Audited, AuditedAdmin
from operators.admin.display import cell, status_tag
from operators.admin.trading_status import TradingStatus
from operators.audit import Change, actor_of, differences, record, state_of
from operators.instruments import (
    OBJECT_TYPE,
    InstrumentError,
    bound_statements,
    bounded_change,
    delete_unused,
    failure_text,
    has_orders,
    move,
)
from operators.models import Act

_CHOSEN_ONCE = ("symbol", "tick_size", "lot_size", "partition", "confirm_unmatched")
_WHY_FIXED = (
    "Fixed once the instrument exists. Resting orders are stored in its ticks and lots, trades and clients refer "
    "to its symbol, and its orders wait in the stream of its partition. Halt it and create another one instead. "
    "manage.py move_instrument moves it to another partition."
)
_WHY_MOVABLE = (
    "Fixed once the instrument exists. It has had no orders, so it can still be moved to another partition, "
    "or deleted."
)
_WHY_CHOSEN_WELL = (
    "The symbol and the grid can't be changed later. The partition can be changed until the first order."
)
_ON_THE_LIMITS = (
    "A halted instrument accepts cancels, but no new orders. Limits apply to new orders, not to resting ones."
)


class _ExactFormField(forms.DecimalField):
    """Shows small numbers as 0.00000001 and not as 1E-8."""

    def prepare_value(self, value: Any) -> Any:
        return decimal_text(value) if hasattr(value, "as_tuple") else value


class _InstrumentForm(ModelForm):  # type: ignore[type-arg]
    """Asks for a confirmation before it uses a partition that no worker matches."""

    confirm_unmatched = forms.BooleanField(
        required=False,
        label="Use the partition although no worker matches it",
        help_text="Orders in it are refused, and GET /healthz names the partition, until a worker is started.",
        widget=UnfoldBooleanSwitchWidget,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self._with_defaults():
            self.fields[name].required = False

    def _with_defaults(self) -> list[str]:
        """Return the optional fields. An omitted field keeps its value or gets its default."""
        options = self._meta.model._meta
        return [
            field.name
            for field in options.concrete_fields
            if field.has_default() and field.name in self.fields
        ]

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        for name in self._with_defaults():
            if self.cleaned_data.get(name) in (None, "") and name not in self.errors:
                self.cleaned_data[name] = getattr(self.instance, name)
        partition = self.cleaned_data.get("partition")
        is_new = self.instance.pk is None or partition != self.initial.get("partition")
        if partition is not None and is_new and not self.cleaned_data.get("confirm_unmatched"):
            reason = partitions.why_unmatched(partition)
            if reason:
                self.add_error("partition", f"{reason[0].upper()}{reason[1:]}. Or tick the box to go on.")
        return cleaned


@admin.register(Instrument)
class InstrumentAdmin(TradingStatus, AuditedAdmin):
    """Changes reach the worker at once, and the API within INSTRUMENT_CACHE_SECONDS."""

    form = _InstrumentForm
    list_display = ("symbol", "state", "tick", "lot", "partition", "orders_link")
    list_filter = ("status", "partition")
    search_fields = ("symbol",)
    formfield_overrides = {ExactField: {"form_class": _ExactFormField, "widget": UnfoldAdminTextInputWidget}}

    def get_fieldsets(self, request: HttpRequest, obj: Instrument | None = None) -> Any:
        grid: tuple[str, ...] = _CHOSEN_ONCE
        why = _WHY_CHOSEN_WELL
        if obj is not None:
            movable = _is_unused(request, obj)
            grid = ("symbol", "tick", "lot", "partition") + (("confirm_unmatched",) if movable else ())
            why = _WHY_MOVABLE if movable else _WHY_FIXED
        trading = [
            field.name
            for field in Instrument._meta.concrete_fields
            if field.editable and not field.primary_key and field.name not in _CHOSEN_ONCE
        ]
        trading.sort(key=lambda name: name != "status")
        return (
            ("Grid", {"fields": grid, "description": why}),
            ("Trading", {"fields": trading, "description": _ON_THE_LIMITS}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Instrument | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return ("symbol", "tick", "lot") + (() if _is_unused(request, obj) else ("partition",))

    def get_actions(self, request: HttpRequest) -> Any:
        """Remove the deletion of selected instruments. Each is deleted on its own page."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Do not use one transaction, because workers are told after each commit.

        The page then shows which workers did not confirm the change.
        """
        response: HttpResponse = super(Audited, self).changelist_view(request, extra_context)
        return response

    def has_delete_permission(self, request: HttpRequest, obj: Instrument | None = None) -> bool:
        """Refuse if the instrument has had orders, because they refer to it."""
        return bool(super().has_delete_permission(request, obj)) and (obj is None or _is_unused(request, obj))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Search no tables: nothing refers to an instrument that may be deleted."""
        return [str(instrument) for instrument in objs], {"instruments": len(objs)}, set(), []

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        try:
            response: HttpResponse = super().delete_view(request, object_id, extra_context)
        except (InstrumentError, DatabaseError) as error:
            self.message_user(request, failure_text(error), messages.ERROR)
            return HttpResponseRedirect(reverse("admin:instruments_instrument_change", args=[object_id]))
        return response

    def delete_model(self, request: HttpRequest, obj: Instrument) -> None:
        delete_unused(obj, actor_of(request))
        self.announce_on_commit(request, [obj.partition])
        transaction.on_commit(partial(partitions.forget_mirror, obj.partition, obj.symbol))

    @bounded_change()
    def save_model(self, request: HttpRequest, obj: Instrument, form: Any, change: bool) -> None:
        if change and form.cleaned_data.get("partition", form.initial.get("partition")) != form.initial.get(
            "partition"
        ):
            new, obj.partition = obj.partition, form.initial["partition"]
            moved = Instrument.objects.get(pk=obj.pk)
            move(moved, new, actor_of(request), unused_only=True)
            self.announce_on_commit(request, [obj.partition])
            transaction.on_commit(partial(partitions.forget_mirror, obj.partition, obj.symbol))
            obj.partition = new
        if change:
            # Save only changed fields: the instrument may have been halted or moved meanwhile.
            columns = {field.name for field in Instrument._meta.concrete_fields}
            obj.save(update_fields=columns.intersection(form.changed_data))
        else:
            super().save_model(request, obj, form, change)
        self.announce_on_commit(request, [obj.partition])

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        try:
            response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        except (InstrumentError, DatabaseError) as error:
            self.message_user(request, failure_text(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return response

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        record(actor_of(request), Act.CREATE, [Change(OBJECT_TYPE, obj.symbol, None, state_of(obj))])
        return super(Audited, self).log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Record a changed status as a halt or a resume. A move has its own record already."""
        before, after = differences(getattr(request, "audited_state", {}), state_of(obj))
        for state in (before, after):
            state.pop("partition", None)
        if "status" in after:
            act = Act.HALT if after["status"] == Instrument.Status.HALTED else Act.RESUME
            status = Change(
                OBJECT_TYPE, obj.symbol, {"status": before.pop("status")}, {"status": after.pop("status")}
            )
            record(actor_of(request), act, [status])
        if after:
            record(actor_of(request), Act.CHANGE, [Change(OBJECT_TYPE, obj.symbol, before, after)])
        return super(Audited, self).log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> Any:
        return super(Audited, self).log_deletions(request, queryset)  # `delete_unused` records it.

    state = cell("status", lambda row: status_tag(row.status), ordering="status")
    tick = cell("tick size", lambda row: decimal_text(row.tick_size), ordering="tick_size")
    lot = cell("lot size", lambda row: decimal_text(row.lot_size), ordering="lot_size")

    @admin.display(description="orders")
    def orders_link(self, instrument: Instrument) -> SafeString:
        url = reverse("admin:orders_order_changelist")
        return format_html('<a href="{}?instrument__id__exact={}">Orders</a>', url, instrument.pk)


def _is_unused(request: HttpRequest, instrument: Instrument) -> bool:
    """Return whether the instrument never had an order, with one query for each request.

    An instrument counts as used if the query does not end in time.
    """
    known: dict[int, bool] = request.__dict__.setdefault("unused_instruments", {})
    if instrument.pk not in known:
        try:
            with transaction.atomic():
                bound_statements()
                known[instrument.pk] = not has_orders(instrument)
        except DatabaseError:
            known[instrument.pk] = False
    return known[instrument.pk]
