"""Admin of instruments and orders.

Instruments can be changed; their worker is told after the commit. Orders are the matching worker's: they are
only shown here, and cancelled through the worker.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from orders.large_tables import TimeKeyAdmin, admin_link
from orders.models import RESTING_STATUSES, ExactField, Instrument, Order
from orders.operations import announce_instruments, cancel_orders
from rest.numbers import decimal_text

admin.site.site_header = "Exchange"
admin.site.site_title = "Exchange"
admin.site.index_title = "Operations"

_FIXED = ("symbol", "tick", "lot", "partition")
_CHOSEN_ONCE = ("symbol", "tick_size", "lot_size", "partition")
_WHY_FIXED = (
    "Fixed once the instrument exists. Resting orders are counted in its ticks and lots, trades and clients refer "
    "to its symbol, and its orders wait in the stream of its partition. Halt it and create another one instead."
)
_WHY_CHOSEN_WELL = "These can't be changed later."
_ON_THE_LIMITS = (
    "A halted instrument takes no orders, but cancels. Limits hold for new orders, not for resting ones."
)


class ExactFormField(forms.DecimalField):
    """Shows 0.00000001 as it is, not as 1E-8."""

    def prepare_value(self, value: Any) -> Any:
        return decimal_text(value) if isinstance(value, Decimal) else value


@admin.register(Instrument)
class InstrumentAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Changes reach the worker at once and the API within INSTRUMENT_CACHE_SECONDS."""

    list_display = ("symbol", "status", "tick", "lot", "partition", "orders_link")
    list_filter = ("status", "partition")
    search_fields = ("symbol",)
    actions = ("halt", "resume")
    formfield_overrides = {ExactField: {"form_class": ExactFormField}}

    def get_fieldsets(self, request: HttpRequest, obj: Instrument | None = None) -> Any:
        limits = (
            "status",
            "min_quantity",
            "max_quantity",
            "min_price",
            "max_price",
            "min_notional",
            "open_orders_max",
        )
        return (
            (
                "Grid",
                {
                    "fields": _FIXED if obj else _CHOSEN_ONCE,
                    "description": _WHY_FIXED if obj else _WHY_CHOSEN_WELL,
                },
            ),
            ("Trading", {"fields": limits, "description": _ON_THE_LIMITS}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Instrument | None = None) -> tuple[str, ...]:
        return _FIXED if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Instrument | None = None) -> bool:
        """Its orders and trades would lose their instrument: halt it instead."""
        return False

    def save_model(self, request: HttpRequest, obj: Instrument, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self._tell_workers(request, [obj.partition])

    @admin.action(description="Halt: take no orders, but cancels", permissions=["change"])
    def halt(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> None:
        self._set_status(request, queryset, Instrument.Status.HALTED)

    @admin.action(description="Resume: take orders again", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Instrument]) -> None:
        self._set_status(request, queryset, Instrument.Status.ACTIVE)

    def _set_status(
        self, request: HttpRequest, queryset: QuerySet[Instrument], status: Instrument.Status
    ) -> None:
        with transaction.atomic():
            changed = list(queryset.exclude(status=status))
            for instrument in changed:
                instrument.status = status
                instrument.save(update_fields=["status"])
                self.log_change(request, instrument, f"Set to {status.label.lower()}.")
            self._tell_workers(request, [instrument.partition for instrument in changed])
        symbols = ", ".join(instrument.symbol for instrument in changed)
        if changed:
            self.message_user(request, f"{symbols}: {status.label.lower()}.", messages.SUCCESS)
        else:
            self.message_user(request, f"Nothing to do: {status.label.lower()} already.", messages.INFO)

    def _tell_workers(self, request: HttpRequest, partitions: Sequence[int]) -> None:
        """After the commit: a worker that reads earlier would read the old values."""
        transaction.on_commit(partial(self._announce, request, partitions))

    def _announce(self, request: HttpRequest, partitions: Sequence[int]) -> None:
        for number, reason in async_to_sync(announce_instruments)(partitions).items():
            self.message_user(
                request,
                f"Saved, but the matching worker of partition {number} could not be told: {reason} "
                f"A running worker takes the change over within {settings.INSTRUMENT_CACHE_SECONDS:g} s anyway.",
                messages.WARNING,
            )

    @admin.display(description="tick size", ordering="tick_size")
    def tick(self, instrument: Instrument) -> str:
        return decimal_text(instrument.tick_size)

    @admin.display(description="lot size", ordering="lot_size")
    def lot(self, instrument: Instrument) -> str:
        return decimal_text(instrument.lot_size)

    @admin.display(description="orders")
    def orders_link(self, instrument: Instrument) -> SafeString:
        url = reverse("admin:orders_order_changelist")
        return format_html('<a href="{}?instrument__id__exact={}">Orders</a>', url, instrument.pk)


@admin.register(Order)
class OrderAdmin(TimeKeyAdmin):
    """Orders as the worker left them."""

    list_display = (
        "order_id",
        "instrument_link",
        "client",
        "side",
        "type",
        "limit_price",
        "ordered",
        "filled",
        "status",
        "reason",
        "created_at",
    )
    list_filter = ("instrument", "status", "side", "type")
    list_select_related = ("instrument",)
    date_hierarchy = "created_at"
    search_fields = ("order_id", "client_id", "idempotency_key")
    search_help_text = (
        "An order id, a client id, an idempotency key, or a client id, a space and its idempotency key."
    )
    actions = ("cancel_selected",)
    fields = (
        ("order_id", "trades_link"),
        ("instrument_link", "client"),
        ("side", "type", "limit_price"),
        ("ordered", "filled", "notional"),
        ("status", "reason"),
        "idempotency_key",
        ("priority", "sequence"),
        ("created_at", "updated_at"),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """The first reading of the text that finds something; all but the last go through an index."""
        text = search_term.strip()
        if not text:
            return queryset, False
        client_id, _, key = text.partition(" ")
        indexed: list[dict[str, Any]] = [{"client_id": text}]
        if is_uuid(text):
            indexed.insert(0, {"order_id": text})
        if key:
            indexed.append({"client_id": client_id, "idempotency_key": key})
        for lookups in indexed:
            if Order.objects.filter(**lookups).exists():
                return queryset.filter(**lookups), False
        return queryset.filter(idempotency_key=text), False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Orders can't be edited, so the right to change them is the right to cancel them."""
        return request.user.has_perm("orders.change_order")

    @admin.action(description="Cancel selected orders", permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Through the worker, OPERATOR_CANCELS_MAX at a time."""
        resting = queryset.filter(status__in=RESTING_STATUSES).select_related("instrument")
        orders = list(resting[: settings.OPERATOR_CANCELS_MAX + 1])
        if not orders:
            self.message_user(request, "None of the selected orders is open.", messages.WARNING)
            return
        result = async_to_sync(cancel_orders)(orders[: settings.OPERATOR_CANCELS_MAX])
        if result.cancelled:
            entry = "Cancelled through the matching worker."
            LogEntry.objects.log_actions(str(request.user.pk), result.cancelled, CHANGE, entry)
        cancelled = len(result.cancelled)
        counts = f"{cancelled} cancelled, {result.no_longer_open} no longer open, {result.failed} failed"
        if result.failed:
            self.message_user(request, f"{counts}: {result.reason}", messages.ERROR)
        else:
            self.message_user(request, f"{counts}.", messages.SUCCESS)
        if len(orders) > settings.OPERATOR_CANCELS_MAX:
            more = f"These were the first {settings.OPERATOR_CANCELS_MAX:,} open ones: run it again for the others."
            self.message_user(request, more, messages.WARNING)

    @admin.display(description="instrument")
    def instrument_link(self, order: Order) -> SafeString:
        return admin_link(Instrument, order.instrument_id, order.instrument)

    @admin.display(description="client")
    def client(self, order: Order) -> SafeString:
        url = reverse("admin:orders_order_changelist")
        return format_html('<a href="{}?client_id__exact={}">{}</a>', url, order.client_id, order.client_id)

    @admin.display(description="trades")
    def trades_link(self, order: Order) -> SafeString:
        """The model of trades lives on the floor above; the relation knows its name."""
        trades = Order._meta.get_field("taker_trades").related_model._meta
        url = reverse(f"admin:{trades.app_label}_{trades.model_name}_changelist")
        return format_html('<a href="{}?q={}">The trades of this order</a>', url, order.order_id)

    @admin.display(description="price")
    def limit_price(self, order: Order) -> str | None:
        return None if order.price is None else decimal_text(order.price)

    @admin.display(description="quantity")
    def ordered(self, order: Order) -> str:
        return decimal_text(order.quantity)

    @admin.display(description="filled")
    def filled(self, order: Order) -> str:
        return decimal_text(order.filled_quantity)

    @admin.display(description="filled notional")
    def notional(self, order: Order) -> str:
        return decimal_text(order.filled_notional)


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
