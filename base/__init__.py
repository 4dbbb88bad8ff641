"""Redis, database reads, exact numbers, times, event loops, logs: whatever every floor needs. Knows no HTTP."""
