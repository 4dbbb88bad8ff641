"""Fixtures of the real servers, for the tests that compare the models with them."""

from tests.matching.conftest import _close_connections, instruments, redis

__all__ = ["_close_connections", "instruments", "redis"]
