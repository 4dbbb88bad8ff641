"""The admin's read-only pages of trades, candles, books' sequences and pruned history."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from base.numbers import decimal_text
from marketdata.models import BookSequence, Candle, PrunedHistory, Trade
from operators.admin.display import admin_link, moment, short_id
from operators.admin.large_tables import ReadOnlyAdmin, TimeKeyAdmin
from operators.admin.orders import is_uuid
from orders.models import Instrument, Order


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

    @admin.display(description="trade")
    def short(self, trade: Trade) -> SafeString:
        return short_id(trade.trade_id)

    @admin.display(description="time")
    def time(self, trade: Trade) -> SafeString | None:
        return moment(trade.timestamp)

    @admin.display(description="instrument")
    def instrument_link(self, trade: Trade) -> SafeString:
        return admin_link(Instrument, trade.instrument_id, trade.instrument)

    @admin.display(description="maker's order")
    def maker(self, trade: Trade) -> SafeString:
        return admin_link(Order, trade.maker_order_id, short_id(trade.maker_order_id))

    @admin.display(description="taker's order")
    def taker(self, trade: Trade) -> SafeString:
        return admin_link(Order, trade.taker_order_id, short_id(trade.taker_order_id))

    @admin.display(description="price")
    def trade_price(self, trade: Trade) -> str:
        return decimal_text(trade.price)

    @admin.display(description="quantity")
    def traded(self, trade: Trade) -> str:
        return decimal_text(trade.quantity)


@admin.register(Candle)
class CandleAdmin(ReadOnlyAdmin):
    """Candles of one minute, as they are stored."""

    list_display = ("instrument", "minute", "opened", "highest", "lowest", "closed", "traded", "trade_count")
    list_filter = ("instrument",)
    list_select_related = ("instrument",)
    date_hierarchy = "time"

    @admin.display(description="minute")
    def minute(self, candle: Candle) -> SafeString | None:
        return moment(candle.time)

    @admin.display(description="open")
    def opened(self, candle: Candle) -> str:
        return decimal_text(candle.open)

    @admin.display(description="high")
    def highest(self, candle: Candle) -> str:
        return decimal_text(candle.high)

    @admin.display(description="low")
    def lowest(self, candle: Candle) -> str:
        return decimal_text(candle.low)

    @admin.display(description="close")
    def closed(self, candle: Candle) -> str:
        return decimal_text(candle.close)

    @admin.display(description="volume")
    def traded(self, candle: Candle) -> str:
        return decimal_text(candle.volume)


@admin.register(BookSequence)
class BookSequenceAdmin(ReadOnlyAdmin):
    """The last sequence of each book."""

    list_display = ("instrument", "sequence")
    list_select_related = ("instrument",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("instrument")


@admin.register(PrunedHistory)
class PrunedHistoryAdmin(ReadOnlyAdmin):
    """The time and sequence up to which `prune` has deleted history."""

    list_display = ("instrument", "up_to", "sequence")
    list_select_related = ("instrument",)

    @admin.display(description="time")
    def up_to(self, pruned: PrunedHistory) -> SafeString | None:
        return moment(pruned.time)
