"""The admin's read-only page of trades."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from base.numbers import decimal_text
from instruments.models import Instrument
from operators.admin.display import admin_link, cell, moment, short_id
from operators.admin.large_tables import TimeKeyAdmin
from operators.admin.orders import is_uuid
from orders.models import Order, Trade


@admin.register(Trade)
class TradeAdmin(TimeKeyAdmin):
    """Trades, with links to both orders."""

    list_display = (
        "short",
        "instrument_link",
        "trade_price",
        "traded",
        "taker_side",
        "maker",
        "taker",
        "sequence",
        "time",
    )
    list_filter = ("instrument", "taker_side")
    list_select_related = ("instrument",)
    date_hierarchy = "timestamp"
    search_fields = ("trade_id", "maker_order", "taker_order")
    search_help_text = "The id of a trade or of one of its orders."
    fields = (
        "trade_id",
        ("instrument_link", "sequence"),
        ("trade_price", "traded", "taker_side"),
        ("maker", "taker"),
        "time",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Trade], search_term: str
    ) -> tuple[QuerySet[Trade], bool]:
        """Match exactly, so that each condition uses its index."""
        text = search_term.strip()
        if not text:
            return queryset, False
        if not is_uuid(text):
            return queryset.none(), False
        return queryset.filter(Q(trade_id=text) | Q(maker_order_id=text) | Q(taker_order_id=text)), False

    short = cell("trade", lambda trade: short_id(trade.trade_id))
    time = cell("time", lambda trade: moment(trade.timestamp))
    instrument_link = cell(
        "instrument", lambda trade: admin_link(Instrument, trade.instrument_id, trade.instrument)
    )
    maker = cell(
        "maker's order", lambda trade: admin_link(Order, trade.maker_order_id, short_id(trade.maker_order_id))
    )
    taker = cell(
        "taker's order", lambda trade: admin_link(Order, trade.taker_order_id, short_id(trade.taker_order_id))
    )
    trade_price = cell("price", lambda trade: decimal_text(trade.price))
    traded = cell("quantity", lambda trade: decimal_text(trade.quantity))
