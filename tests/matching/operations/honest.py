"""Honest trading that leaves orders of every kind, status and reason, for tests to tamper with.

`trade_at_random` leaves plain orders in BTC-USD and ETH-USD. `trade_with_instructions` plays scenes
in SOL-USD, whose orders are found by their idempotency keys.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.test import override_settings

from base.times import unix_milliseconds
from orders.messages import PlaceCommand
from orders.models import Order, Reason
from tests.engine.flows import SHAPES, Shape
from tests.matching.partition import (
    Partition,
    amend,
    cancel,
    cancel_after,
    place,
    random_commands,
)

STARTED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BATCH_TIME = timedelta(seconds=20)  # so that a candle has several batches
COMMANDS_PER_BATCH = 23
SCENES_AT = STARTED_AT + 200 * BATCH_TIME


def trade_at_random(partition: Partition, shape: Shape, seed: int) -> None:
    """Trade for some minutes in two books."""
    commands = list(random_commands(shape, seed=seed, commands=300))
    now = STARTED_AT
    for number in range(0, len(commands), COMMANDS_PER_BATCH):
        partition.run(*commands[number : number + COMMANDS_PER_BATCH], now=now)
        now += BATCH_TIME


def trade_without_instructions(partition: Partition) -> None:
    """Leave orders of every status that plain orders may have, and of their reasons, in BTC-USD."""
    early = place("sell", 100_000, 10**12)
    partition.run(early, now=STARTED_AT - BATCH_TIME)
    trade_at_random(partition, SHAPES[0], seed=5)
    partition.run(
        # The first order empties the bids. The second one finds none.
        *(place("sell", 0, 10**12) for _ in range(2)),
        *(place("buy", 900 - number, 5, idempotency_key=f"key-{number}") for number in range(4)),
        place("sell", 900, 9),  # trades, and then rests partially filled
        taken_off := place("buy", 800, 5),
        cancel(taken_off),
        now=STARTED_AT + 100 * BATCH_TIME,
    )
    market = partition.books["BTC-USD"]
    with override_settings(ORDER_TRADES_MAX=1):
        partition.run(place("sell", 897, 8))
    with override_settings(BOOK_LEVELS_PER_SIDE_MAX=1):
        partition.run(place("buy", 850, 5))
    with override_settings(INSTRUMENT_OPEN_ORDERS_MAX=1):
        partition.run(place("buy", 850, 5))
    market.instrument = msgspec.structs.replace(market.instrument, halted=True)
    partition.run(place("buy", 900, 5), place("sell", 900, 5))


class Scenes:
    """Plays scenes with instructions in SOL-USD. An order's name is its idempotency key."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._now = SCENES_AT
        self._orders: dict[str, PlaceCommand] = {}

    def order(self, name: str, side: str, price: int, quantity: int, **others: Any) -> None:
        """Place an order. Its client has its name, unless it is given."""
        command = place(
            side,
            price,
            quantity,
            **{
                "instrument": "SOL-USD",
                "idempotency_key": name,
                "client_id": name.replace(" ", "-"),
                **others,
            },
        )
        self._orders[name] = command
        self._partition.run(command, now=self._now)

    def amend(self, name: str, **changes: int) -> None:
        self._partition.run(amend(self._orders[name], **changes), now=self._now)

    def cancel(self, name: str, **others: Any) -> None:
        command = msgspec.structs.replace(cancel(self._orders[name]), **others)
        self._partition.run(command, now=self._now)

    def due(self, seconds: int) -> int:
        """Return the time in so many seconds, in Unix milliseconds."""
        return unix_milliseconds(self._now) + 1000 * seconds

    def pass_time(self, seconds: int) -> None:
        self._now += timedelta(seconds=seconds)
        self._partition.run(now=self._now)

    def play(self) -> None:
        self._play_amends()
        self._play_refusals()
        self._play_triggers()
        self._play_self_trades()
        self._play_ends()

    def _play_amends(self) -> None:
        self.order("amended maker", "sell", 100, 10)
        self.order("early buyer", "buy", 100, 2)
        self.amend("amended maker", price_ticks=105)
        self.order("late buyer", "buy", 105, 3)
        self.order("amended taker", "buy", 90, 4)
        self.amend("amended taker", price_ticks=105)  # fills it, and leaves 1 of the maker
        self.order("reduced", "buy", 80, 9)
        self.amend("reduced", quantity_lots=6)
        self.order("moved", "buy", 70, 5)
        self.amend("moved", price_ticks=71)

    def _play_refusals(self) -> None:
        """The best bid is at 80, the best ask at 105, which is also the last price."""
        self.order("crossing", "sell", 80, 1, post_only=True)
        self.order("met already", "sell", 0, 1, order_type="stop", trigger_price_ticks=110)
        self.order("no ioc", "buy", 60, 1, time_in_force="ioc")
        self.order("no fok", "buy", 60, 1, time_in_force="fok")
        self.order("ioc in part", "buy", 105, 3, time_in_force="ioc")
        self.order("left ask", "sell", 105, 1)

    def _play_triggers(self) -> None:
        self.order("waiting", "buy", 0, 9, order_type="stop", trigger_price_ticks=200)
        self.amend("waiting", quantity_lots=6)
        self.order("take profit", "sell", 0, 1, order_type="take_profit", trigger_price_ticks=300)
        self.order("stop", "sell", 0, 1, order_type="stop", trigger_price_ticks=95)
        self.order("stop limit", "sell", 94, 3, order_type="stop_limit", trigger_price_ticks=95)
        self.amend("stop limit", trigger_price_ticks=96)
        self.amend("stop limit", trigger_price_ticks=95)
        self.order(
            "late crossing", "sell", 79, 1, order_type="stop_limit", trigger_price_ticks=95, post_only=True
        )
        self.order("bid at 95", "buy", 95, 1)
        self.order("seller at 95", "sell", 95, 1)
        self.order("buyer of stop limit", "buy", 94, 1)

    def _play_self_trades(self) -> None:
        """The best bid is at 80, and "stop limit" has 2 lots at 94."""
        self.order("decremented", "sell", 93, 5, client_id="decrement")
        self.order("buyer at 93", "buy", 93, 1)
        self.order("decrementing", "buy", 94, 6, client_id="decrement", self_trade_prevention="decrement")
        self.order("decremented in part", "sell", 93, 5, client_id="decrement")
        self.order("prevented", "buy", 93, 2, client_id="decrement", self_trade_prevention="decrement")
        self.order("cancelled maker", "sell", 92, 1, client_id="maker")
        self.order(
            "cancelling taker",
            "buy",
            92,
            1,
            client_id="maker",
            self_trade_prevention="cancel_maker",
            time_in_force="ioc",
        )
        self.order("other ask", "sell", 121, 2, client_id="reduced", self_trade_prevention="cancel_taker")
        self.amend("other ask", price_ticks=80)  # meets "reduced", which is of the same client

    def _play_ends(self) -> None:
        self.order("gtd", "buy", 65, 4, time_in_force="gtd", expires_at_ms=self.due(10_000))
        self.order("by operator", "buy", 64, 4)
        self.order("by switch", "buy", 63, 4)
        self.order("by end of connection", "buy", 62, 4)
        self.order("expired", "buy", 61, 4, time_in_force="gtd", expires_at_ms=self.due(5))
        self.order("expired on arrival", "buy", 61, 4, time_in_force="gtd", expires_at_ms=self.due(0))
        self.amend("gtd", expires_at_ms=self.due(20_000))
        self.cancel("by operator", by_operator=True)
        self.cancel("by end of connection")
        Order.objects.filter(idempotency_key="by end of connection").update(reason=Reason.DISCONNECTED)
        self._partition.run(cancel_after("by-switch", 7), now=self._now)
        self.pass_time(10)
        self.order("triggered", "sell", 0, 1, order_type="stop", trigger_price_ticks=90)
        with override_settings(WORKER_BATCH_TRIGGERED_MAX=0):
            self.order("bid at 90", "buy", 90, 1)
            self.order("seller at 90", "sell", 90, 1)


def trade_with_everything() -> None:
    """Leave orders of every status and every reason in the books."""
    partition = Partition()
    trade_without_instructions(partition)
    Scenes(partition).play()
