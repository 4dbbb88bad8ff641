"""Writes a past into an exchange's database: trades with orders and candles, and resting orders.

Trades are in groups of TRADES_PER_GROUP: a sell order rests, and as many buy orders fill it
completely. Groups are spread evenly over a period that ends now. Their price varies between 69,500
and 70,500. One client, whale, has an eleventh of the orders, a tenth of the trades, and every
thousandth resting order. The resting orders are outside of this range, at 5,000 prices on each side. The past
breaks no promise, so `manage.py audit` passes. Keys are UUIDs of version 7 with the times of their
rows, as in real use.
"""

import time
from typing import NamedTuple

import psycopg
from psycopg import sql

TRADES_PER_GROUP = 10
EVENTS_PER_GROUP = 1 + TRADES_PER_GROUP
_LARGE_TABLES = ("orders_order", "orders_trade")

_GROUPS = """
CREATE TEMPORARY TABLE groups AS
SELECT number, time, date_trunc('minute', time) AS minute, instrument.id AS instrument_id,
  number * {events} AS before,
  (70000 + round(500 * sin(number * 0.001)::numeric, 2)) AS price,
  lpad(to_hex((extract(epoch FROM time) * 1000)::bigint), 12, '0') || '70008000' AS key
FROM (
  SELECT number, now() - (%(groups)s - number) * %(days)s * interval '1 day' / %(groups)s AS time
  FROM generate_series(0, %(groups)s - 1) AS number
) AS spread, instruments_instrument AS instrument
WHERE instrument.symbol = 'BTC-USD'
"""
_TAKER = "CASE place WHEN 5 THEN 'whale' ELSE 'client-' || (number * 7 + place) %% 1000 END"
# Place 0 of a group is its sell order. An order's key ends with the unique number of its event.
_ORDERS = """
INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
  filled_notional, prevented_quantity, status, idempotency_key, time_in_force, post_only, self_trade_prevention,
  priority, sequence, created_at, updated_at)
SELECT (key || lpad(to_hex(before + place), 12, '0'))::uuid, {taker}, instrument_id,
  CASE place WHEN 0 THEN 'sell' ELSE 'buy' END, 'limit', price, quantity, quantity, quantity * price,
  0, 'filled', 'past-' || before + place, 'gtc', false, 'none', CASE place WHEN 0 THEN before + 1 END,
  before + 1 + CASE place WHEN 0 THEN {trades} ELSE place END, time, time
FROM groups, LATERAL (SELECT place, CASE place WHEN 0 THEN {trades} ELSE 1 END * 0.01 AS quantity
                      FROM generate_series(0, {trades}) AS place) AS placed
"""
_TRADES = """
INSERT INTO orders_trade (trade_id, instrument_id, sequence, price, quantity, taker_side, maker_order_id,
  taker_order_id, maker_client_id, taker_client_id, timestamp)
SELECT (key || lpad(to_hex(before + place), 12, '0'))::uuid, instrument_id, before + 1 + place, price, 0.01, 'buy',
  (key || lpad(to_hex(before), 12, '0'))::uuid, (key || lpad(to_hex(before + place), 12, '0'))::uuid,
  'client-' || number * 7 %% 1000, {taker}, time
FROM groups, generate_series(1, {trades}) AS place
"""
_CANDLES = """
INSERT INTO marketdata_candle (instrument_id, time, open, high, low, close, volume, notional, trade_count)
SELECT instrument_id, minute, (array_agg(price ORDER BY number))[1], max(price), min(price),
  (array_agg(price ORDER BY number DESC))[1], count(*) * {trades} * 0.01, sum(price) * {trades} * 0.01,
  count(*) * {trades}
FROM groups GROUP BY instrument_id, minute
"""
_RESTING = """
INSERT INTO orders_order (order_id, client_id, instrument_id, side, type, price, quantity, filled_quantity,
  filled_notional, prevented_quantity, status, idempotency_key, time_in_force, post_only, self_trade_prevention,
  priority, sequence, created_at, updated_at)
SELECT (lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '70009000'
  || lpad(to_hex(number), 12, '0'))::uuid,
  CASE number %% 1000 WHEN 0 THEN 'whale' ELSE 'client-' || number %% 1000 END, instrument.id,
  CASE number %% 2 WHEN 0 THEN 'buy' ELSE 'sell' END, 'limit',
  CASE number %% 2 WHEN 0 THEN 69499.99 - number / 2 %% 5000 * 0.01 ELSE 70500.01 + number / 2 %% 5000 * 0.01 END,
  0.01 + number %% 50 * 0.01, 0, 0, 0, 'open', 'resting-' || number, 'gtc', false, 'none', %(before)s + number,
  %(before)s + number, now(), now()
FROM generate_series(1, %(resting)s) AS number, instruments_instrument AS instrument
WHERE instrument.symbol = 'BTC-USD'
"""
_SEQUENCE = """
INSERT INTO marketdata_booksequence (instrument_id, sequence)
SELECT id, %(sequence)s FROM instruments_instrument WHERE symbol = 'BTC-USD'
"""
# Constraints and indexes besides primary keys. They are dropped and made again, which is faster.
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('u', 'c') AND conrelid = ANY(%s::regclass[])
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY(%s::regclass[]) AND NOT indisprimary
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


class Past(NamedTuple):
    """The size of a past. `trades` must be a multiple of TRADES_PER_GROUP."""

    trades: int
    resting_orders: int
    days: int


def make_past(postgres_uri: str, past: Past) -> None:
    """Write a past into the database of an exchange without orders.

    Its workers must be restarted afterwards.
    """
    groups = past.trades // TRADES_PER_GROUP
    before = groups * EVENTS_PER_GROUP
    words = {"events": EVENTS_PER_GROUP, "trades": TRADES_PER_GROUP, "taker": _TAKER}
    with psycopg.connect(postgres_uri, autocommit=True) as connection:

        def run(title: str, *statements: str, **parameters: int) -> None:
            started = time.monotonic()
            for statement in statements:
                connection.execute(statement.format_map(words), parameters)
            print(f"  {title:<16} {time.monotonic() - started:6.1f} s", flush=True)

        constraints = connection.execute(_CONSTRAINTS, [list(_LARGE_TABLES)]).fetchall()
        indexes = connection.execute(_INDEXES, [list(_LARGE_TABLES)]).fetchall()
        with connection.transaction():
            for table, name, _ in constraints:
                connection.execute(
                    sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.SQL(table), sql.Identifier(name))
                )
            for name, _ in indexes:
                connection.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(name)))
            run("groups", _GROUPS, groups=groups, days=past.days)
            run(f"{before:,} orders", _ORDERS)
            run(f"{past.trades:,} trades", _TRADES)
            run("candles", _CANDLES, "DROP TABLE groups")
            run(f"{past.resting_orders:,} resting", _RESTING, before=before, resting=past.resting_orders)
            run("sequence", _SEQUENCE, sequence=before + past.resting_orders)
        connection.execute("SET maintenance_work_mem = '1GB'")
        run("indexes", *(definition for _, definition in indexes))
        run(
            "constraints",
            *(f"ALTER TABLE {table} ADD CONSTRAINT {name} {text}" for table, name, text in constraints),
        )
        run("vacuum", "VACUUM ANALYZE")  # Autovacuum would have done so over time.
