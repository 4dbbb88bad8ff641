"""What every floor needs: Redis, database reads, exact numbers, times, the event loop, logs. Knows nothing of trading or HTTP."""
