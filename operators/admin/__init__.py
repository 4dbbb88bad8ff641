"""The admin: Django finds what the modules here register."""

from operators.admin import audit, instruments, marketdata, matching, orders, users

__all__ = ["audit", "instruments", "marketdata", "matching", "orders", "users"]
