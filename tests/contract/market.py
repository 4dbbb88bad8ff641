"""The operator's access for tests: list and halt instruments, use the database and Redis."""

import itertools
from typing import Any

import psycopg
import redis
from psycopg.sql import SQL, Identifier
from uuid_utils import uuid7

from hosting.embedded.locations import Locations
from marketdata.book import mirror_keys
from orders.messages import COMMAND_FIELD, PlaceCommand, ReloadInstruments, encode, stream_key
from tests.contract.client import Client, order_body
from tests.system.exchange import RunningExchange, wait_until

LISTED_AT_ONCE = 30
LEVELS_AT_ONCE = 10_000
_LIST_SQL = """
INSERT INTO instruments_instrument (symbol, tick_size, lot_size, min_quantity, max_quantity, min_price, max_price,
                               status, partition)
VALUES (%s, 0.01, 0.00000001, 0.00000001, 10000, 0.01, 10000000, 'active', 0)
"""

REAL_BIDS = 10  # best bids of a large book that are real orders


class Market:
    """The operator's access. It lists new instruments with the grid and the limits of BTC-USD."""

    def __init__(self, exchange: RunningExchange) -> None:
        locations = Locations(exchange.data_dir)
        self.database = psycopg.connect(locations.postgres_uri, autocommit=True)
        self.redis: Any = redis.Redis.from_url(locations.redis_url)
        self._client = Client(exchange.url)
        self._numbers = itertools.count(1)
        self._unused: list[str] = []

    def close(self) -> None:
        self.database.close()
        self.redis.close()
        self._client.close()

    def fresh_instrument(self) -> str:
        """Return the symbol of an instrument without orders or trades."""
        if not self._unused:
            self._unused = [f"T{next(self._numbers)}-USD" for _ in range(LISTED_AT_ONCE)]
            with self.database.cursor() as cursor:
                cursor.executemany(_LIST_SQL, [(symbol,) for symbol in self._unused])
            self.reload_worker()
            wait_until(lambda: self._is_traded(self._unused[-1]), f"{self._unused[-1]} is traded")
        return self._unused.pop(0)

    def large_books(self, *sizes: int) -> list[str]:
        """Return instruments whose mirrors show `sizes` bids, more than a test has time to place.

        The best bids are real orders, because checksums cover them. The instruments are newly listed.
        A client that has subscribed to all instruments does not follow them.
        """
        self._unused = []
        symbols = [self.fresh_instrument() for _ in sizes]
        for symbol, bids in zip(symbols, sizes, strict=True):
            for price in range(REAL_BIDS):
                self._client.place(symbol, "buy", 1, 9_000 + price)
            for start in range(1, bids - REAL_BIDS + 1, LEVELS_AT_ONCE):
                ticks = range(start, min(start + LEVELS_AT_ONCE, bids - REAL_BIDS + 1))
                self.redis.zadd(mirror_keys(0, symbol).bids, {f"{price}:1:1": price for price in ticks})
        return symbols

    def place_resting_asks(self, symbol: str, *, count: int, price_ticks: int, client_id: str) -> None:
        """Place `count` resting orders of one lot at one price, without a request for each order."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for _ in range(count):
                order = PlaceCommand(
                    order_id=str(uuid7()),
                    reply_to="nobody",
                    client_id=client_id,
                    instrument=symbol,
                    side="sell",
                    order_type="limit",
                    price_ticks=price_ticks,
                    quantity_lots=1,
                )
                pipeline.xadd(stream_key(0), {COMMAND_FIELD: encode(order)})
            pipeline.execute()
        wait_until(lambda: self._count_asks(symbol) == count, "all orders rest")

    def _count_asks(self, symbol: str) -> int:
        return sum(level["orders"] for level in self._client.book(symbol)["asks"])

    def halt_test_instruments(self) -> None:
        """Halt all instruments that were listed for tests, used or not."""
        self._unused = []
        self.database.execute(
            "UPDATE instruments_instrument SET status = 'halted' WHERE symbol LIKE 'T%-USD'"
        )
        self.reload_worker()

    def set_status(self, symbol: str, status: str) -> None:
        """Change the status in the database, as the admin does. The processes read it soon."""
        self.database.execute(
            "UPDATE instruments_instrument SET status = %s WHERE symbol = %s", (status, symbol)
        )

    def change_status(self, symbol: str, status: str) -> None:
        """Change the status. Return when the API shows it; the worker reads it before its next command."""
        self.set_status(symbol, status)
        self.reload_worker()
        wait_until(lambda: self.is_seen_by_api(symbol, status), f"the API shows {symbol} as {status}")

    def set_quantity_max(self, symbol: str, quantity: int) -> None:
        """Change an order's largest quantity in the database. The processes read it soon."""
        self.database.execute(
            "UPDATE instruments_instrument SET max_quantity = %s WHERE symbol = %s", (quantity, symbol)
        )

    def set_bounds(self, symbol: str, **bounds: object) -> None:
        """Change columns of the instrument, such as `open_orders_max`.

        Return when the API shows them. The worker reads them before its next command.
        """
        for name, value in bounds.items():
            self.database.execute(
                SQL("UPDATE instruments_instrument SET {} = %s WHERE symbol = %s").format(Identifier(name)),
                (value, symbol),
            )
        self.reload_worker()
        wait_until(lambda: bounds.items() <= self._instrument(symbol).items(), f"the API knows {bounds}")

    def reload_worker(self) -> None:
        """Make the worker read the instruments before its next command."""
        command = encode(ReloadInstruments(request_id="test", reply_to="nobody"))
        self.redis.xadd(stream_key(0), {COMMAND_FIELD: command})

    def is_seen_by_api(self, symbol: str, status: str) -> bool:
        """Return whether the API shows the instrument with that status."""
        return bool(self._instrument(symbol)["status"] == status)

    def _instrument(self, symbol: str) -> dict[str, Any]:
        """Return the instrument as the API shows it."""
        rows = self._client.get("/instruments").json["instruments"]
        return next(row for row in rows if row["symbol"] == symbol)

    def _is_traded(self, symbol: str) -> bool:
        body = order_body(symbol, "buy", 1, client_id="operator")
        return self._client.post("/orders", body).status == 201
