"""The admin's read-only pages of candles and books' sequences."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from base.numbers import decimal_text
from marketdata.models import BookSequence, Candle
from operators.admin.display import moment
from operators.admin.large_tables import ReadOnlyAdmin


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
