"""Code that every other package may use: Redis, database reads, exact numbers, times, loops, logs.

Nothing here depends on HTTP or on trading.
"""
