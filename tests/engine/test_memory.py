"""The book keeps memory only for resting orders, however many orders have passed through it."""

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from matching.engine import CancelOrder, OrderBook, OrderKind, PlaceOrder, Side
from matching.engine.book_side import VACANT_LEVELS_SPARE, BookSide
from matching.engine.level import RestingOrder

ROOT = Path(__file__).resolve().parents[2]
ORDERS = 20_000
SWEPT = 300_000  # so many orders overflow the C stack if they are freed recursively
KEPT_BYTES_MAX = 200_000  # 10 bytes for each order that came and went; a leak takes 300


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def place(book: OrderBook, number: int, *, price_ticks: int) -> None:
    book.process(PlaceOrder(f"order-{number}", "ann", Side.BUY, OrderKind.LIMIT, price_ticks, 5))


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
            book.process(PlaceOrder(f"taker-{number}", "bob", Side.SELL, OrderKind.MARKET, 0, 50))
    after, _ = tracemalloc.get_traced_memory()
    assert len(book) == 0
    assert after - before < KEPT_BYTES_MAX


@pytest.mark.usefixtures("traced")
def test_a_dropped_book_is_freed_at_once_and_without_recursion() -> None:
    before, _ = tracemalloc.get_traced_memory()
    book = OrderBook()
    for number in range(ORDERS):
        place(book, number, price_ticks=7)  # freeing this one queue must not recurse 20,000 times
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


def test_vacant_levels_are_bounded_and_the_best_level_is_never_vacant() -> None:
    random = Random(5)
    side = BookSide(Side.SELL)
    resting: list[RestingOrder] = []
    most = 0
    for number in range(13_500):
        # Grow to some hundred levels, empty half of them at the back, use some of these again,
        # and then empty most of the remaining levels at the front.
        phase = number % 1_350
        if phase < 600 or 900 <= phase < 1_000:
            resting.append(side.append(f"order-{number}", "ann", random.randint(1, 2_000), 1))
            resting.sort(key=lambda order: order.level.price_ticks)
        else:
            side.remove(resting.pop(-1 if phase < 900 else 0))
        vacant = sum(not level.orders for level in side.levels.values())
        most = max(most, vacant)
        assert vacant == side.vacant_levels <= len(side.levels) - vacant + VACANT_LEVELS_SPARE
        assert len(side.keys) == len(side.levels)
        assert not side.keys or side.levels[side.keys[0]].orders
    assert most > VACANT_LEVELS_SPARE  # the test has reached the bound
