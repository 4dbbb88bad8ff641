"""The admin's pages. Importing the modules registers them."""

from django.contrib import admin

from operators.admin import audit, instruments, marketdata, matching, orders, trades, users

admin.site.site_header = admin.site.site_title = "Tradepost"
admin.site.index_title = "Overview"

__all__ = ["audit", "instruments", "marketdata", "matching", "orders", "trades", "users"]
