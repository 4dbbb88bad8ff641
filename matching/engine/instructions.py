"""How an order trades and how long it rests: its instructions.

Most orders have none. They share the one object PLAIN, and the book recognises them by identity, so
instructions cost nothing to orders that do not use them. Make others with `instructions_of`, which
returns the same object for the same instructions.
"""

from enum import IntEnum
from functools import cache

from msgspec import Struct


class TimeInForce(IntEnum):
    """What happens to the part of a limit order that does not trade at once.

    A market order never rests, so only FOK makes a difference to it.
    """

    GTC = 0
    """Good till cancelled: it rests."""
    GTD = 1
    """Good till date: it rests. The caller cancels it when its time has come."""
    IOC = 2
    """Immediate or cancel: it is cancelled."""
    FOK = 3
    """Fill or kill: the order trades completely or not at all."""


class SelfTradePrevention(IntEnum):
    """What happens if an incoming order, the taker, meets an order of the same client, the maker."""

    NONE = 0
    """They trade."""
    CANCEL_TAKER = 1
    """The taker's remainder is cancelled."""
    CANCEL_MAKER = 2
    """The maker is cancelled, and the taker goes on."""
    CANCEL_BOTH = 3
    """Both are cancelled."""
    DECREMENT = 4
    """The smaller remainder is taken off both. An order without a remainder is cancelled."""


class Instructions(Struct, frozen=True, gc=False):
    """The instructions of an order. `post_only` refuses the order if it would trade at once."""

    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE


PLAIN = Instructions()
"""Good till cancelled, may trade at once, and may trade with the same client's orders."""


@cache
def instructions_of(
    time_in_force: TimeInForce,
    post_only: bool = False,
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.NONE,
) -> Instructions:
    """Return the shared object of these instructions, which is PLAIN for the defaults."""
    instructions = Instructions(time_in_force, post_only, self_trade_prevention)
    return PLAIN if instructions == PLAIN else instructions
