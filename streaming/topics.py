"""What a client can follow of an instrument."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from marketdata.candles import CANDLE_INTERVALS


class Channel(StrEnum):
    """The names that clients use."""

    ORDERBOOK_DELTAS = "orderbook_deltas"
    TRADES = "trades"
    ORDERS = "orders"
    TICKER = "ticker"
    CANDLES = "candles"
    DEPTH = "depth"


class Topic(NamedTuple):
    """A channel, of which there are several where clients want different things of it."""

    channel: Channel
    client_id: str = ""  # of orders
    interval: str = ""  # of candles
    throttle_milliseconds: int = 0  # of what is a state or changes of one

    @property
    def identity(self) -> "Topic":
        """What is followed, at whichever pace."""
        return self._replace(throttle_milliseconds=0)

    @property
    def candle_interval(self) -> timedelta:
        return CANDLE_INTERVALS[self.interval]
