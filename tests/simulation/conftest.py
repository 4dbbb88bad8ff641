"""The real servers, for the tests that hold the models against them."""

from tests.matching.conftest import _close_connections, instruments, redis

__all__ = ["_close_connections", "instruments", "redis"]
