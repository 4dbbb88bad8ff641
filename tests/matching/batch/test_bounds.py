"""Limits of open orders, levels and trades.

The limits of orders and levels reject an order before it touches the book. The limit of trades
cancels its remainder. Such orders are stored like all others.
"""

import msgspec
import pytest
from django.test import override_settings

from instruments.directory import TradedInstrument
from matching.recovery import load_books
from orders.messages import PlaceCommand
from orders.models import Order
from tests.engine.comparison import orders_by_client, recount_of
from tests.engine.flows import SHAPES
from tests.matching.partition import Partition, cancel, place, random_commands

pytestmark = pytest.mark.usefixtures("instruments")

SYMBOL = "BTC-USD"


@pytest.fixture
def partition(instruments: dict[str, TradedInstrument]) -> Partition:
    """Return partition 0, in which each client may have 3 open orders in BTC-USD."""
    partition = Partition()
    market = partition.books[SYMBOL]
    market.instrument = msgspec.structs.replace(market.instrument, open_orders_max=3)
    return partition


def outcome(order: PlaceCommand) -> tuple[str, str | None]:
    stored = Order.objects.get(order_id=order.order_id)
    return stored.status, stored.reason


def place_at(
    partition: Partition, *prices: int, side: str = "buy", client_id: str = "ann"
) -> list[PlaceCommand]:
    """Run one batch with an order of 5 lots at each price, and return the orders."""
    orders = [place(side, price, 5, client_id=client_id) for price in prices]
    partition.run(*orders)
    return orders


OPEN = ("open", None)
TOO_MANY_ORDERS = ("rejected", "too_many_orders")
TOO_MANY_LEVELS = ("rejected", "too_many_levels")


def test_a_client_has_no_more_open_orders_than_the_limit(partition: Partition) -> None:
    orders = place_at(partition, 100, 101, 102, 103)
    assert [outcome(order) for order in orders] == [OPEN] * 3 + [TOO_MANY_ORDERS]
    (other,) = place_at(partition, 103, client_id="bob")
    (elsewhere,) = [place("buy", 100, 5, client_id="ann", instrument="ETH-USD")]
    partition.run(elsewhere)
    assert [outcome(order) for order in (other, elsewhere)] == [OPEN, OPEN]


def test_a_rejected_order_is_not_filled_and_leaves_the_book_unchanged(partition: Partition) -> None:
    place_at(partition, 100, 101, 102)
    place_at(partition, 200, side="sell", client_id="bob")
    before = partition.state_hashes()
    crossing = place("buy", 200, 5, client_id="ann", idempotency_key="once")
    batch, result = partition.run(crossing)
    assert outcome(crossing) == TOO_MANY_ORDERS
    assert (batch.trades, batch.book_changes, result.changed) == ([], [], [])
    assert partition.state_hashes() == before
    again = place("buy", 200, 5, client_id="ann", idempotency_key="once")
    batch, _ = partition.run(again)
    assert [reply.body.decode() for reply in batch.replies["tests"]] == [crossing.order_id]


def test_the_limit_of_open_orders_does_not_apply_to_market_orders(partition: Partition) -> None:
    place_at(partition, 100, 101, 102)
    place_at(partition, 200, side="sell", client_id="bob")
    market = place("buy", 0, 5, client_id="ann")
    partition.run(market)
    assert outcome(market) == ("filled", None)


@pytest.mark.parametrize("how", ["cancel", "fill", "restart"])
def test_a_client_at_the_limit_may_place_again_once_an_order_has_ended(
    partition: Partition, how: str
) -> None:
    first, *_ = place_at(partition, 102, 101, 100)
    if how == "restart":  # the counts are then those of the loaded book
        partition.reload()
        market = partition.books[SYMBOL]
        market.instrument = msgspec.structs.replace(market.instrument, open_orders_max=3)
    refused, *_ = place_at(partition, 99)
    assert outcome(refused) == TOO_MANY_ORDERS
    partition.run(place("sell", 0, 5, client_id="bob") if how == "fill" else cancel(first))
    (taken,) = place_at(partition, 99)
    assert outcome(taken) == OPEN


def test_a_lower_limit_stops_only_new_orders(partition: Partition) -> None:
    orders = place_at(partition, 100, 101, 102)
    market = partition.books[SYMBOL]
    market.instrument = msgspec.structs.replace(market.instrument, open_orders_max=1)
    partition.run(cancel(orders[0]))
    (refused,) = place_at(partition, 100)
    partition.run(cancel(orders[1]), cancel(orders[2]))
    (taken,) = place_at(partition, 100)
    assert [outcome(order)[0] for order in orders] == ["cancelled"] * 3
    assert (outcome(refused), outcome(taken)) == (TOO_MANY_ORDERS, OPEN)


def test_all_clients_together_have_no_more_orders_in_a_book_than_the_limit(partition: Partition) -> None:
    with override_settings(INSTRUMENT_OPEN_ORDERS_MAX=2):
        orders = [place_at(partition, 100 + number, client_id=f"c{number}")[0] for number in range(3)]
        partition.run(cancel(orders[0]))
        (last,) = place_at(partition, 90, client_id="c3")
    assert [outcome(order) for order in orders[1:]] == [OPEN, TOO_MANY_ORDERS]
    assert outcome(last) == OPEN


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_a_side_has_a_limit_of_levels_and_some_more_for_better_prices(
    partition: Partition, side: str, sign: int
) -> None:
    def at(*steps: int) -> list[tuple[str, str | None]]:
        """Place orders this many ticks better than 1,000, and return their outcomes."""
        prices = [1_000 + sign * step for step in steps]
        return [
            outcome(place_at(partition, price, side=side, client_id=f"at-{price}")[0]) for price in prices
        ]

    with override_settings(BOOK_LEVELS_PER_SIDE_MAX=3, BOOK_LEVELS_IMPROVING_MAX=2):
        assert at(1, 2, 3) == [OPEN] * 3
        assert at(0) == [TOO_MANY_LEVELS]  # worse than all levels
        assert at(2, 3, 1) == [OPEN] * 3  # on existing levels
        assert at(4, 5) == [OPEN] * 2  # better than all levels
        assert at(6) == [TOO_MANY_LEVELS]
        assert at(5) == [OPEN]


def test_a_level_that_was_emptied_does_not_count(partition: Partition) -> None:
    with override_settings(BOOK_LEVELS_PER_SIDE_MAX=3, BOOK_LEVELS_IMPROVING_MAX=0):
        best, middle, last = place_at(partition, 103, 102, 101)
        partition.run(cancel(middle))
        (back,) = place_at(partition, 102)
        partition.run(cancel(last))
        (other,) = place_at(partition, 50)
        (refused,) = place_at(partition, 49, client_id="bob")
    assert [outcome(order) for order in (best, back, other)] == [OPEN] * 3
    assert outcome(refused) == TOO_MANY_LEVELS


@pytest.mark.parametrize("price", [0, 100], ids=["market", "limit"])
@pytest.mark.parametrize(
    ("lots", "expected"),
    [
        (10, ("filled", None, 10)),
        (11, ("cancelled", "too_many_trades", 10)),
        (20, ("cancelled", "too_many_trades", 10)),
    ],
)
def test_the_remainder_of_an_order_is_cancelled_at_the_limit_of_trades(
    partition: Partition, price: int, lots: int, expected: tuple[str, str | None, int]
) -> None:
    for number in range(4):
        place_at(partition, 104 - number, client_id=f"c{number}")
    with override_settings(ORDER_TRADES_MAX=2):
        taker = place("sell", price, lots, client_id="tom")
        batch, _ = partition.run(taker)
    order = batch.orders[taker.order_id]
    assert (*outcome(taker), order.filled_lots) == expected
    assert [trade.event.price_ticks for trade in batch.trades] == [104, 103]
    assert partition.books[SYMBOL].book.best_bid == 102


def test_a_limit_orders_remainder_that_matches_nothing_rests_at_the_limit_of_trades(
    partition: Partition,
) -> None:
    place_at(partition, 104, 103, 90)
    with override_settings(ORDER_TRADES_MAX=2):
        limit = place("sell", 100, 12, client_id="tom")
        partition.run(limit)
    assert outcome(limit) == ("partially_filled", None)


def test_a_market_orders_remainder_that_matches_nothing_is_cancelled_for_no_liquidity(
    partition: Partition,
) -> None:
    place_at(partition, 104, 103)
    with override_settings(ORDER_TRADES_MAX=2):
        market = place("sell", 0, 12, client_id="tom")
        partition.run(market)
    assert outcome(market) == ("cancelled", "no_liquidity")


def test_each_clients_orders_are_the_books_and_are_undone_with_a_batch(partition: Partition) -> None:
    commands = list(random_commands(SHAPES[0], seed=8, commands=300, instruments=(SYMBOL,)))
    partition.run(*commands[:150])
    market = partition.books[SYMBOL]
    before = orders_by_client(market.orders)
    assert before == recount_of(market.book)
    batch = partition.match(*commands[150:])
    assert orders_by_client(market.orders) == recount_of(market.book) != before
    batch.undo()
    assert orders_by_client(market.orders) == recount_of(market.book) == before
    assert orders_by_client(load_books(0)[SYMBOL].orders) == before
