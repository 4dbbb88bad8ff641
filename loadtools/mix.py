"""The mix of orders: 70 % limit orders around a middle price, 30 % market orders, seeded.

The same seed gives the same orders, and a shorter run is the beginning of a longer one. Prices and
quantities are integers of ticks and lots until they are written, so the text is exact.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_LIMIT_SHARE = 0.7
_SPREAD_PARTS = 1400  # Prices are within 1/1400 of the middle: 50.00 of 70000.00.
_QUANTITY_STEP_DIGITS = 2
_QUANTITY_STEPS_MIN = 1  # 0.01
_QUANTITY_STEPS_MAX = 51  # 0.51
_CLIENTS = 1_000
DEFAULT_MARKET = "BTC-USD:70000.00"


class MarketError(ValueError):
    """A market's description is invalid."""


@dataclass(frozen=True, slots=True)
class MixMarket:
    """An instrument and the range of its orders' prices, in ticks of 10 ** -digits."""

    instrument: str
    digits: int
    price_ticks_low: int
    price_ticks_high: int


def parse_market(text: str) -> MixMarket:
    """Return the market that `SYMBOL:PRICE` describes. The price's decimals give the tick.

    Raises `MarketError` if it is invalid, or if the price has too few decimals to vary it.
    """
    instrument, separator, price_text = text.partition(":")
    example = "write SYMBOL:PRICE with the tick's decimals, for example ETH-USD:3500.00"
    if not instrument or not separator:
        raise MarketError(f"{text!r} is not a market: {example}")
    try:
        price = Decimal(price_text)
        digits = -int(price.as_tuple().exponent)
    except (InvalidOperation, ValueError):
        raise MarketError(f"{text!r} has no price: {example}") from None
    if price <= 0 or not 0 <= digits <= 12:
        raise MarketError(f"{text!r} has a price that can't be used: {example}")
    middle = int(price.scaleb(digits))
    spread = middle // _SPREAD_PARTS
    if spread < 1:
        raise MarketError(f"{text!r} leaves no room around the price: {example}")
    return MixMarket(instrument, digits, middle - spread, middle + spread)


def _decimal_text(units: int, digits: int) -> str:
    """Write `units` of 10 ** -digits as an exact decimal."""
    if digits == 0:
        return str(units)
    whole, part = divmod(units, 10**digits)
    return f"{whole}.{part:0{digits}d}"


def order_bodies(*, seed: int, key_prefix: str, markets: Sequence[MixMarket]) -> Iterator[bytes]:
    """Return bodies of POST /orders without end.

    An idempotency key consists of the prefix, the instrument and the index.
    """
    uniform = random.Random(seed).random  # noqa: S311 -- reproducible on purpose
    index = 0
    while True:
        market = markets[int(uniform() * len(markets))]
        client = int(uniform() * _CLIENTS)
        side = "buy" if uniform() < 0.5 else "sell"
        steps = _QUANTITY_STEPS_MIN + int(uniform() * (_QUANTITY_STEPS_MAX - _QUANTITY_STEPS_MIN + 1))
        head = (
            f'{{"idempotency_key":"{key_prefix}-{market.instrument}-{index}","client_id":"client-{client:04d}",'
            f'"instrument":"{market.instrument}","side":"{side}",'
        )
        quantity = _decimal_text(steps, _QUANTITY_STEP_DIGITS)
        if uniform() < _LIMIT_SHARE:
            width = market.price_ticks_high - market.price_ticks_low + 1
            price = _decimal_text(market.price_ticks_low + int(uniform() * width), market.digits)
            body = f'{head}"type":"limit","price":{price},"quantity":{quantity}}}'
        else:
            body = f'{head}"type":"market","quantity":{quantity}}}'
        yield body.encode("ascii")
        index += 1
