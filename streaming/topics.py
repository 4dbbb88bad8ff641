"""The channels of an instrument that a client can follow, and their topics."""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from marketdata.candles import CANDLE_INTERVALS


class Channel(StrEnum):
    """The channels, by the names that clients use."""

    ORDERBOOK_DELTAS = "orderbook_deltas"
    TRADES = "trades"
    ORDERS = "orders"
    FILLS = "fills"
    QUOTES = "quotes"
    TICKER = "ticker"
    CANDLES = "candles"
    DEPTH = "depth"


PRIVATE = (Channel.ORDERS, Channel.FILLS)
"""Channels of one client."""
PACELESS = (Channel.ORDERS, Channel.FILLS, Channel.TRADES)
"""Channels whose messages are all sent, whatever throttle the client asks for."""


class Topic(NamedTuple):
    """A channel with its options. Followers of a topic get the same messages."""

    channel: Channel
    client_id: str = ""  # only for orders and fills
    interval: str = ""  # only for candles
    throttle_milliseconds: int = 0  # for all channels but PACELESS

    @property
    def identity(self) -> "Topic":
        """The topic without its pace. A client follows each identity at one pace only."""
        return self._replace(throttle_milliseconds=0)

    @property
    def candle_interval(self) -> timedelta:
        return CANDLE_INTERVALS[self.interval]
