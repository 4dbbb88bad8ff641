"""The deadline of tests that wait for an event. It measures nothing.

A test goes on as soon as its condition holds, so on an idle machine it never waits this long. Shared
machines are sometimes slower by a factor of twenty. A test must not fail because of that.
"""

PATIENCE_SECONDS = 120.0
PATIENCE_MILLISECONDS = 120_000

# Settings of the exchange that limit steps which succeed on a usual machine. Tests that are not about
# such a limit give them the time limit of all tests.
TIME_LIMITS = (
    "DESK_READ_SECONDS_MAX",
    "GUARD_END_SECONDS_MAX",
    "HEALTH_CHECK_TIMEOUT_SECONDS",
    "OPERATOR_STATEMENT_SECONDS_MAX",
    "ORDER_REPLY_TIMEOUT_SECONDS",
    "REDIS_TIMEOUT_SECONDS",
    "STREAM_BOOK_SECONDS_MAX",
    "WORKER_HEARTBEAT_EXPIRY_SECONDS",
)
