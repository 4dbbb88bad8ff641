"""The admin's read-only pages of candles and books' sequences."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from base.numbers import decimal_text
from marketdata.models import BookSequence, Candle
from operators.admin.display import cell, moment
from operators.admin.large_tables import ReadOnlyAdmin


@admin.register(Candle)
class CandleAdmin(ReadOnlyAdmin):
    """Candles of one minute, as they are stored."""

    list_display = ("instrument", "minute", "opened", "highest", "lowest", "closed", "traded", "trade_count")
    list_filter = ("instrument",)
    list_select_related = ("instrument",)
    date_hierarchy = "time"

    minute = cell("minute", lambda candle: moment(candle.time))
    opened = cell("open", lambda candle: decimal_text(candle.open))
    highest = cell("high", lambda candle: decimal_text(candle.high))
    lowest = cell("low", lambda candle: decimal_text(candle.low))
    closed = cell("close", lambda candle: decimal_text(candle.close))
    traded = cell("volume", lambda candle: decimal_text(candle.volume))


@admin.register(BookSequence)
class BookSequenceAdmin(ReadOnlyAdmin):
    """The last sequence of each book."""

    list_display = ("instrument", "sequence")
    list_select_related = ("instrument",)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("instrument")
