"""The deadline of tests that wait for an event. It measures nothing.

A test goes on as soon as its condition holds, so on an idle machine it never waits this long. Shared
machines are sometimes slower by a factor of twenty. A test must not fail because of that.
"""

PATIENCE_SECONDS = 120.0
