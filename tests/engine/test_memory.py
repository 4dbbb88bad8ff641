"""The book keeps memory only for open orders, however many orders have passed through it."""

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from matching.engine import AmendOrder, CancelOrder, OrderBook, OrderKind, Side
from matching.engine.book_side import VACANT_LEVELS_SPARE, BookSide
from matching.engine.level import QueuedOrder
from tests.engine.orders import buy, market, sell, waiting

ROOT = Path(__file__).resolve().parents[2]
ORDERS = 20_000
SWEPT = 300_000  # so many orders overflow the C stack if they are freed recursively
CHAIN = 40_000  # stops that trigger each other
KEPT_BYTES_MAX = 200_000  # 10 bytes for each order that came and went; a leak takes 300


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def place(book: OrderBook, number: int, *, price_ticks: int) -> None:
    book.process(buy(f"order-{number}", price_ticks, 5))


def place_stop(book: OrderBook, number: int, *, trigger_price_ticks: int) -> None:
    book.process(waiting(f"stop-{number}", Side.BUY, OrderKind.STOP, trigger_price_ticks, 1))


def trade_at(book: OrderBook, price_ticks: int) -> None:
    book.process(sell("maker", price_ticks, 1))
    book.process(market("taker", Side.BUY, 1))


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("prices", [1, ORDERS], ids=["at one price", "each at its own price"])
def test_orders_cancelled_behind_the_best_price_leave_no_memory(prices: int) -> None:
    book = OrderBook()
    place(book, -1, price_ticks=10 * ORDERS)  # the best bid stays, so no trade ever cleans up
    before, _ = tracemalloc.get_traced_memory()
    for number in range(ORDERS):
        place(book, number, price_ticks=1 + number % prices)
        book.process(CancelOrder(f"order-{number}", "ann"))
    after, _ = tracemalloc.get_traced_memory()
    assert len(book) == 1
    assert after - before < KEPT_BYTES_MAX


@pytest.mark.usefixtures("traced")
def test_filled_orders_leave_no_memory() -> None:
    book = OrderBook()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(ORDERS):
        place(book, number, price_ticks=1 + number % 7)
        if number % 10 == 9:
            book.process(market(f"taker-{number}", Side.SELL, 50))
    after, _ = tracemalloc.get_traced_memory()
    assert len(book) == 0
    assert after - before < KEPT_BYTES_MAX


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("prices", [1, ORDERS], ids=["at one price", "each at its own price"])
def test_waiting_orders_that_end_leave_no_memory(prices: int) -> None:
    """Some are cancelled, some amended and then cancelled, some triggered."""
    book = OrderBook()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(ORDERS):
        trigger_price_ticks = 1_000 + number % prices
        place_stop(book, number, trigger_price_ticks=trigger_price_ticks)
        if number % 3 == 1:
            book.process(AmendOrder(f"stop-{number}", "ann", trigger_price_ticks=trigger_price_ticks + 1))
        if number % 3 == 2:
            trade_at(book, trigger_price_ticks)
            book.enter_triggered()
            trade_at(book, 1)  # so that the next stop does not find its price met
        else:
            book.process(CancelOrder(f"stop-{number}", "ann"))
    after, _ = tracemalloc.get_traced_memory()
    assert (len(book), book.waiting_count) == (0, 0)
    assert after - before < KEPT_BYTES_MAX


@pytest.mark.usefixtures("traced")
def test_a_dropped_book_is_freed_at_once_and_without_recursion() -> None:
    before, _ = tracemalloc.get_traced_memory()
    book = OrderBook()
    for number in range(ORDERS):
        place(book, number, price_ticks=7)  # freeing this one queue must not recurse 20,000 times
        place_stop(book, number, trigger_price_ticks=9)
    held, _ = tracemalloc.get_traced_memory()
    assert held - before > 100 * ORDERS
    del book
    after, _ = tracemalloc.get_traced_memory()
    assert after - before < KEPT_BYTES_MAX


@pytest.mark.parametrize("left", [0, 1])
def test_the_orders_of_a_sweep_are_freed_one_by_one(left: int) -> None:
    """This runs in another process, because a failure would end the process."""
    program = f"""
from matching.engine import OrderBook, OrderKind, PlaceOrder, Side
book = OrderBook()
for number in range({SWEPT}):
    book.process(PlaceOrder(str(number), "maker", Side.SELL, OrderKind.LIMIT, 100, 1))
events = book.process(PlaceOrder("taker", "taker", Side.BUY, OrderKind.MARKET, 0, {SWEPT - left}))
assert (len(events), len(book)) == ({SWEPT - left}, {left})
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("stops", "prices"), [(CHAIN, CHAIN), (CHAIN // 4, 1)], ids=["one after the other", "all at once"]
)
def test_a_long_chain_of_triggers_needs_no_recursion(stops: int, prices: int) -> None:
    """Each stop trades at the price that triggers the next one, or one trade triggers all of them."""
    program = f"""
from matching.engine import OrderBook, OrderKind, PlaceOrder, Side
book = OrderBook()
for number in range({stops}):
    price = 1 + number % {prices}
    book.process(PlaceOrder(f"maker-{{number}}", "ann", Side.SELL, OrderKind.LIMIT, price, 1))
    stop = PlaceOrder(
        f"stop-{{number}}", "bob", Side.BUY, OrderKind.STOP, 0, 1, trigger_price_ticks=price
    )
    book.process(stop)
before = book.state_hash()
last = book.process(PlaceOrder("last", "ann", Side.SELL, OrderKind.LIMIT, {stops} + 1, 1))
events = book.process(PlaceOrder("first", "tom", Side.BUY, OrderKind.MARKET, 0, 1))
runs = 0
while book.next_triggered is not None:
    events += book.enter_triggered()
    runs += 1
assert (runs, len(book), book.waiting_count) == ({stops}, 0, 0)
book.undo(last + events, None)
assert book.state_hash() == before
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, b"")


def test_vacant_levels_are_bounded_and_the_best_level_is_never_vacant() -> None:
    random = Random(5)
    side = BookSide(Side.SELL)
    resting: list[QueuedOrder] = []
    most = 0
    for number in range(13_500):
        # Grow to some hundred levels, empty half of them at the back, use some of these again,
        # and then empty most of the remaining levels at the front.
        phase = number % 1_350
        if phase < 600 or 900 <= phase < 1_000:
            order = sell(f"order-{number}", random.randint(1, 2_000), 1)
            resting.append(side.append(order, order.price_ticks, 1))
            resting.sort(key=lambda order: order.level.price_ticks)
        else:
            side.remove(resting.pop(-1 if phase < 900 else 0))
        vacant = sum(not level.orders for level in side.levels.values())
        most = max(most, vacant)
        assert vacant == side.vacant_levels <= len(side.levels) - vacant + VACANT_LEVELS_SPARE
        assert len(side.keys) == len(side.levels)
        assert not side.keys or side.levels[side.keys[0]].orders
    assert most > VACANT_LEVELS_SPARE  # the test has reached the bound
