"""Clients that place orders while a process is killed, and remember the answers."""

import random
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg

from hosting.embedded.locations import Locations
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange, wait_until

CLIENTS = 4
PAUSE_SECONDS = 0.01  # between two orders of a client, so that other processes get time
ANSWER_SECONDS_MAX = PATIENCE_SECONDS


class Traffic:
    """Clients that send each order again, with the same key, until its answer arrives."""

    def __init__(self, exchange: RunningExchange, *, instrument: str = "BTC-USD", name: str) -> None:
        self._exchange = exchange
        self._instrument = instrument
        self._name = name
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._trade, args=(number,)) for number in range(CLIENTS)]
        self.acknowledged: dict[tuple[str, str], str] = {}  # order ids by client and key
        self.repeated = 0  # requests that were sent again because no order was returned

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop once each client has finished its current order."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_more(self, orders: int = 50) -> None:
        """Return once this many more orders are acknowledged."""
        before = len(self.acknowledged)
        wait_until(
            lambda: len(self.acknowledged) >= before + orders,
            f"{orders} more orders\n{self._exchange.log()}",
        )

    def missing(self) -> set[tuple[str, str]]:
        """Return the acknowledged orders that are not stored exactly once under the same id."""
        # Copy them before the query: orders may be acknowledged while it runs.
        acknowledged = dict(self.acknowledged)
        with psycopg.connect(Locations(self._exchange.data_dir).postgres_uri) as connection:
            rows: Iterable[Any] = connection.execute(
                "SELECT client_id, idempotency_key, min(order_id::text) FROM orders_order "
                "WHERE idempotency_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) = 1"
            )
            stored = {(client_id, key): order_id for client_id, key, order_id in rows}
        return {key for key, order_id in acknowledged.items() if stored.get(key) != order_id}

    def _trade(self, number: int) -> None:
        client_id, dice = f"{self._name}-{number}", random.Random(number)
        with httpx.Client(base_url=self._exchange.url, timeout=ANSWER_SECONDS_MAX) as http:
            for order_number in range(1_000_000):
                if self._stop.is_set():
                    return
                key = f"key-{order_number}"
                price = 70_000 + dice.randint(-20, 20)
                order = {
                    "client_id": client_id,
                    "idempotency_key": key,
                    "instrument": self._instrument,
                    "side": dice.choice(("buy", "sell")),
                    "type": "limit",
                    "price": price,
                    "quantity": dice.randint(1, 9),
                }
                order_id = self._place(http, order)
                if order_id is None:
                    return
                self.acknowledged[client_id, key] = order_id
                self._stop.wait(PAUSE_SECONDS)

    def _place(self, http: httpx.Client, order: dict[str, Any]) -> str | None:
        """Return the order's id, or None if the test ended before an answer arrived."""
        while True:
            try:
                answer = http.post("/orders", json=order)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code in (200, 201):
                return str(answer.json()["order_id"])
            self.repeated += 1
            if self._stop.wait(0.05):
                return None
