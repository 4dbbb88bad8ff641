"""The admin's pages of orders: read-only, because only the matching worker writes orders.

The action to cancel orders sends cancels to the worker.
"""

from collections import Counter
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from base.numbers import decimal_text
from instruments.models import Instrument
from operators.admin.display import admin_link, cell, moment, short_id, shortened, status_tag
from operators.admin.large_tables import TimeKeyAdmin
from operators.admin.order_history import events_table, terms_text
from operators.audit import NOTE_CHARACTERS_MAX, actor_of, note_of
from operators.cancels import cancel_for_operator
from orders.models import LIVE_STATUSES, Order

_CLIENTS_SHOWN_MAX = 20


@admin.register(Order)
class OrderAdmin(TimeKeyAdmin):
    """Orders as the worker has stored them."""

    list_display = ("short", "state", "instrument_link", "client", "offer", "filled_of", "created")
    list_filter = ("instrument", "status", "reason", "side", "type", "time_in_force")
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
        ("side", "type"),
        ("limit_price", "trigger"),
        ("lasts", "expires"),
        ("rests_only", "prevention"),
        ("ordered", "remaining"),
        ("filled", "notional"),
        ("prevented", "idempotency_key"),
        ("status", "reason"),
        ("priority", "sequence"),
        ("created", "updated"),
        "triggered",
        "events",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        """Try the meanings of the text in turn, until one finds an order.

        All but the last use an index.
        """
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
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Order]) -> HttpResponse | None:
        """Show a page with the orders to be cancelled.

        Once it is confirmed, cancel those that are open or pending.
        """
        confirmed = request.POST.get("confirm") == "yes"
        if confirmed and "orders" in request.POST:
            ids = [text for text in request.POST["orders"].split(",") if is_uuid(text)]
            queryset = Order.objects.filter(pk__in=ids[: settings.OPERATOR_CANCELS_MAX])
        live = queryset.filter(status__in=LIVE_STATUSES).select_related("instrument").order_by("-pk")
        orders = list(live[: settings.OPERATOR_CANCELS_MAX + 1])
        if not orders:
            self.message_user(request, "None of the selected orders is open or pending.", messages.WARNING)
            return None
        more = len(orders) > settings.OPERATOR_CANCELS_MAX
        del orders[settings.OPERATOR_CANCELS_MAX :]
        if not confirmed:
            return self._ask_to_confirm(request, orders, more=more)
        result = cancel_for_operator(orders, actor_of(request), note=note_of(request))
        if result.cancelled:
            entry = "Cancelled through the matching worker."
            LogEntry.objects.log_actions(str(request.user.pk), result.cancelled, CHANGE, entry)
        cancelled = len(result.cancelled)
        counts = f"{cancelled} cancelled, {result.no_longer_open} no longer open, {result.failed} failed"
        if result.failed:
            self.message_user(request, f"{counts}: {result.reason}", messages.ERROR)
        else:
            self.message_user(request, f"{counts}.", messages.SUCCESS)
        return None

    def _ask_to_confirm(self, request: HttpRequest, orders: list[Order], *, more: bool) -> HttpResponse:
        """Show the page that asks. It sends the ids back, so newer orders are not cancelled."""
        counts = Counter((str(order.instrument), order.client_id, order.side) for order in orders)
        context = {
            **self.admin_site.each_context(request),
            "title": "Cancel orders",
            "opts": self.opts,
            "count": len(orders),
            "groups": counts.most_common(_CLIENTS_SHOWN_MAX),
            "groups_more": max(0, len(counts) - _CLIENTS_SHOWN_MAX),
            "more": more,
            "cancels_max": settings.OPERATOR_CANCELS_MAX,
            "ids": ",".join(str(order.pk) for order in orders),
            "first_id": orders[0].pk,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "note_characters_max": NOTE_CHARACTERS_MAX,
        }
        return TemplateResponse(request, "operators/confirm_cancels.html", context)

    instrument_link = cell(
        "instrument", lambda order: admin_link(Instrument, order.instrument_id, order.instrument)
    )

    @admin.display(description="client")
    def client(self, order: Order) -> SafeString:
        url = reverse("admin:orders_order_changelist")
        return format_html(
            '<a href="{}?client_id__exact={}">{}</a>', url, order.client_id, shortened(order.client_id)
        )

    @admin.display(description="trades")
    def trades_link(self, order: Order) -> SafeString:
        url = reverse("admin:orders_trade_changelist")
        return format_html('<a href="{}?q={}">The trades of this order</a>', url, order.order_id)

    short = cell("order", lambda order: short_id(order.order_id))

    @admin.display(description="status")
    def state(self, order: Order) -> SafeString:
        tag = status_tag(order.status, order.get_status_display().lower())
        return format_html('{}<span class="below">{}</span>', tag, order.reason or "")

    @admin.display(description="terms")
    def offer(self, order: Order) -> SafeString:
        """Return side, type and price, and its other terms below them."""
        kind, price = order.get_type_display().lower(), self.limit_price(order) or ""
        text = format_html('<span class="{}">{}</span> {} {}', order.side, order.side, kind, price)
        return format_html('{}<span class="below">{}</span>', text, terms_text(order))

    filled_of = cell(
        "filled / quantity",
        lambda order: f"{decimal_text(order.filled_quantity)} / {decimal_text(order.quantity)}",
    )
    created = cell("created", lambda order: moment(order.created_at))
    updated = cell("updated", lambda order: moment(order.updated_at))
    limit_price = cell("price", lambda order: None if order.price is None else decimal_text(order.price))
    ordered = cell("quantity", lambda order: decimal_text(order.quantity))
    filled = cell("filled", lambda order: decimal_text(order.filled_quantity))
    prevented = cell("prevented", lambda order: decimal_text(order.prevented_quantity))
    remaining = cell("remaining", lambda order: decimal_text(order.remaining_quantity))
    trigger = cell(
        "trigger price",
        lambda order: None if order.trigger_price is None else decimal_text(order.trigger_price),
    )
    lasts = cell("time in force", lambda order: order.time_in_force)
    rests_only = cell("post-only", lambda order: "yes" if order.post_only else "no")
    prevention = cell("self-trade prevention", lambda order: order.self_trade_prevention)
    expires = cell("expires", lambda order: moment(order.expires_at))
    triggered = cell("triggered", lambda order: moment(order.triggered_at))
    events = cell("events", events_table)
    notional = cell("filled notional", lambda order: decimal_text(order.filled_notional))


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
