"""Random flows of commands with every instruction, for the worker's batches.

A seed always gives the same flow. Order ids are random, and the flow does not look at the books: it
amends and cancels orders that it has placed lately, of which many have ended.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from base.times import unix_milliseconds
from instruments.choices import SelfTradePrevention
from orders.messages import Command, GuardAction, PlaceCommand
from tests.matching.partition import amend, cancel, cancel_after, cancel_all, guard_command, place

STARTED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MIDDLE_TICKS = 1_000
AWAY_TICKS = 8
OVER_TICKS = 2
QUANTITY_LOTS_MAX = 20
SEGMENT_SECONDS_MAX = 5
EXPIRY_SECONDS_MAX = 60
TIMEOUT_SECONDS_MAX = 12  # of a dead man's switch
RECENT = 60
CONNECTIONS = 2  # that have a guard now and then
TRIGGERS = ("stop", "take_profit", "stop_limit", "take_profit_limit")


def after(seconds: float) -> datetime:
    """Return the moment so long after the start of a flow."""
    return STARTED_AT + timedelta(seconds=seconds)


class InstructedFlow:
    """Makes segments: commands that arrive at one time."""

    def __init__(
        self,
        seed: int,
        *,
        clients: int = 4,
        instruments: tuple[str, ...] = ("BTC-USD", "ETH-USD"),
        has_mass_cancels: bool = True,
    ) -> None:
        self._random = Random(seed)
        self._clients = [f"client-{number}" for number in range(clients)]
        self._instruments = instruments
        self._has_mass_cancels = has_mass_cancels
        self._recent: list[PlaceCommand] = []
        self._now = STARTED_AT
        self._connections = [self._uuid() for _ in range(CONNECTIONS)]

    def segments(self, count: int, commands: int) -> Iterator[tuple[datetime, list[Command]]]:
        """Yield the time and the commands of each segment. A segment may be the last for a while."""
        for _ in range(count):
            self._now += timedelta(milliseconds=self._random.randint(0, 1000 * SEGMENT_SECONDS_MAX))
            yield self._now, [self._command() for _ in range(self._random.randint(0, commands))]

    def _command(self) -> Command:
        random = self._random
        dice = random.random() if self._has_mass_cancels else random.uniform(0.02, 1)
        if dice < 0.005:
            narrowed = random.choice(({}, {"instrument": random.choice(self._instruments)}, {"side": "buy"}))
            return cancel_all(random.choice(self._clients), **narrowed)
        if dice < 0.02:
            return cancel_after(
                random.choice(self._clients), random.choice((0, random.randint(1, TIMEOUT_SECONDS_MAX)))
            )
        if dice < 0.06:
            return self._guard()
        if self._recent and dice < 0.1:
            return cancel(random.choice(self._recent))
        if self._recent and dice < 0.3:
            return self._amend(random.choice(self._recent))
        order = self._place()
        self._recent = [*self._recent[1 - RECENT :], order]
        return order

    def _guard(self) -> Command:
        ends = [GuardAction.END] if self._has_mass_cancels else []
        return guard_command(
            self._random.choice([GuardAction.ARM, GuardAction.ARM, GuardAction.DISARM, *ends]),
            self._random.choice(self._connections),
            self._random.choice(self._clients),
            may_create=self._random.random() < 0.8,
        )

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _price(self, side: str) -> int:
        """Return a price that is seldom beyond the middle of the market."""
        beyond_ticks = self._random.randint(-AWAY_TICKS, OVER_TICKS)
        return MIDDLE_TICKS + (beyond_ticks if side == "buy" else -beyond_ticks)

    def _trigger_price(self) -> int:
        return MIDDLE_TICKS + self._random.randint(-AWAY_TICKS, AWAY_TICKS)

    def _quantity(self) -> int:
        lots = self._random.randint(1, QUANTITY_LOTS_MAX)
        return 10 * lots if self._random.random() < 0.05 else lots

    def _expiry(self) -> int:
        """Return a time, which may have passed already."""
        return unix_milliseconds(self._now) + self._random.randint(-2_000, 1000 * EXPIRY_SECONDS_MAX)

    def _amend(self, order: PlaceCommand) -> Command:
        choices: list[dict[str, int]] = [
            {"quantity_lots": self._quantity()},
            {"price_ticks": self._price(order.side)},
            {"price_ticks": self._price(order.side), "quantity_lots": self._quantity()},
            {"expires_at_ms": self._expiry()},
            {"trigger_price_ticks": self._trigger_price()},
            {"price_ticks": self._price(order.side), "expires_at_ms": self._expiry()},
        ]
        return amend(order, **self._random.choice(choices))

    def _place(self) -> PlaceCommand:
        random = self._random
        others: dict[str, Any] = {}
        order_type = random.choice(("limit", "limit", "limit", "market", random.choice(TRIGGERS)))
        has_limit = order_type.endswith("limit")
        if has_limit:
            others["time_in_force"] = random.choice(("gtc", "gtc", "gtd", "gtd", "ioc", "fok"))
            others["post_only"] = others["time_in_force"].startswith("gt") and random.random() < 0.2
        else:
            others["time_in_force"] = random.choice(("ioc", "ioc", "ioc", "fok"))
        if others["time_in_force"] == "gtd":
            others["expires_at_ms"] = self._expiry()
        if order_type in TRIGGERS:
            others["trigger_price_ticks"] = self._trigger_price()
        side = random.choice(("buy", "sell"))
        return place(
            side,
            self._price(side) if has_limit else 0,
            self._quantity(),
            client_id=random.choice(self._clients),
            instrument=random.choice(self._instruments),
            order_id=self._uuid(),
            order_type=order_type,
            self_trade_prevention=random.choice(("none", *SelfTradePrevention.values)),
            guard=random.choice(self._connections) if random.random() < 0.05 else None,
            **others,
        )
