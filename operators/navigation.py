"""The admin's menu. It omits entries that a user may not see."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse_lazy


def _entry(title: str, icon: str, model: str) -> dict[str, Any]:
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
    }


def _trading_screen() -> list[dict[str, Any]]:
    """Return the link to the trading screen. A listener for the admin alone has no such page."""
    if settings.ENVIRONMENT.admin_bind is not None:
        return []
    return [{"title": "Trading screen", "icon": "show_chart", "link": "/", "active": False}]


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    return [
        {
            "title": "Trading",
            "items": [
                {"title": "Overview", "icon": "monitoring", "link": reverse_lazy("admin:index")},
                *_trading_screen(),
                _entry("Instruments", "currency_exchange", "instruments.instrument"),
                _entry("Orders", "receipt_long", "orders.order"),
                _entry("Trades", "swap_horiz", "orders.trade"),
                _entry("Candles", "candlestick_chart", "marketdata.candle"),
            ],
        },
        {
            "title": "Machinery",
            "items": [
                _entry("Checkpoints", "flag", "matching.checkpoint"),
                _entry("Sequences", "format_list_numbered", "marketdata.booksequence"),
                _entry("Switches", "timer_off", "orders.cancelafter"),
                _entry("Pruned history", "content_cut", "matching.prunedhistory"),
            ],
        },
        {
            "title": "Operators",
            "items": [
                _entry("Audit trail", "fact_check", "operators.auditrecord"),
                _entry("Users", "person", "auth.user"),
                _entry("Groups", "group", "auth.group"),
            ],
        },
    ]
