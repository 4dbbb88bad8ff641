"""Measure the matching engine alone, on one core: `python -m benchmarks.engine`.

Prints the machine, the versions, and the median and spread of 5 runs of each of these measurements:

- commands per second of two mixes, without cancels (70 % limit, 30 % market) and with 25 % cancels;
- the same mixes in books that always have 10,000 and 1,000,000 resting orders;
- bytes of process memory for each of 1,000,000 resting orders;
- the time of a fill and of a cancel in a queue of 50,000 orders at one price.

Time is processor time, because the engine never waits, and other programs disturb this time less.
Commands are made before the clock starts. Each string and integer is an object of its own, as after
decoding. Limit prices are within 5,000 ticks of 7,000,000, quantities are 1 to 51 units of
1,000,000 lots, and there are 1,000 clients.
"""

from pathlib import Path
from random import Random
from resource import getpagesize
from statistics import median
from time import process_time

from benchmarks.report import print_chart, print_heading
from matching.engine import CancelOrder, OrderBook, OrderKind, PlaceOrder, Side

Command = PlaceOrder | CancelOrder

RUNS = 5
COMMANDS = 200_000
# Few commands, because a run removes up to 2,000 orders from the book, which is refilled each time.
COMMANDS_IN_FILLED_BOOK = 10_000
QUEUE_ORDERS = 50_000
RESTING_ORDERS = (10_000, 1_000_000)
MIXES = {"no cancels": 0.0, "25 % cancels": 0.25}

MARKET_SHARE = 0.30
MIDDLE_TICKS = 7_000_000
SPREAD_TICKS = 5_000
LOTS_PER_UNIT = 1_000_000
UNITS_MAX = 51
CLIENTS = 1_000


def make_flow(*, commands: int, cancel_share: float, seed: str) -> list[Command]:
    """Return limit and market orders, and cancels of random earlier limit orders, filled or not."""
    random = Random(seed)
    flow: list[Command] = []
    placed: list[tuple[str, str]] = []
    for number in range(commands):
        if placed and random.random() < cancel_share:
            at = random.randrange(len(placed))
            placed[at], placed[-1] = placed[-1], placed[at]
            order_id, client_id = placed.pop()
            flow.append(CancelOrder(copied(order_id), copied(client_id)))
            continue
        is_market = random.random() < MARKET_SHARE
        order = PlaceOrder(
            order_id=f"{seed:.>28}{number:08}",
            client_id=f"client-{random.randrange(CLIENTS)}",
            side=random.choice((Side.BUY, Side.SELL)),
            kind=OrderKind.MARKET if is_market else OrderKind.LIMIT,
            price_ticks=0 if is_market else MIDDLE_TICKS + random.randint(-SPREAD_TICKS, SPREAD_TICKS),
            quantity_lots=random.randint(1, UNITS_MAX) * LOTS_PER_UNIT,
        )
        if not is_market:
            placed.append((order.order_id, order.client_id))
        flow.append(order)
    return flow


def copied(text: str) -> str:
    """Return an equal string that is another object, as a decoder does."""
    return text.encode().decode()


def fill(book: OrderBook, orders: int) -> None:
    """Place limit orders on both sides, which do not trade, until the book has `orders`."""
    random = Random(orders)
    number = book.sequence
    while len(book) < orders:
        number += 1
        side = random.choice((Side.BUY, Side.SELL))
        distance_ticks = random.randint(1, SPREAD_TICKS) * (-1 if side is Side.BUY else 1)
        book.process(
            PlaceOrder(
                order_id=f"resting-{number:028}",
                client_id=f"client-{random.randrange(CLIENTS)}",
                side=side,
                kind=OrderKind.LIMIT,
                price_ticks=MIDDLE_TICKS + distance_ticks,
                quantity_lots=random.randint(1, UNITS_MAX) * LOTS_PER_UNIT,
            )
        )


def seconds(book: OrderBook, flow: list[Command]) -> float:
    """Return the seconds that the book needs for the flow. Its events are created and dropped."""
    process = book.process
    start = process_time()
    for command in flow:
        process(command)
    return process_time() - start


def mix_rate(cancel_share: float, run: int) -> float:
    """Return the commands per second, starting with an empty book."""
    flow = make_flow(commands=COMMANDS, cancel_share=cancel_share, seed=f"mix-{run}")
    return COMMANDS / seconds(OrderBook(), flow)


def filled_book_rate(book: OrderBook, resting: int, cancel_share: float, run: int) -> float:
    """Return the commands per second in a book that is refilled to `resting` orders first."""
    fill(book, resting)
    name = f"filled-{resting}-{cancel_share}-{run}"
    return COMMANDS_IN_FILLED_BOOK / seconds(
        book, make_flow(commands=COMMANDS_IN_FILLED_BOOK, cancel_share=cancel_share, seed=name)
    )


def queue_nanoseconds(*, cancel: bool, run: int) -> float:
    """Return the time of one fill, or of one cancel at a random position, in a long queue."""
    book = OrderBook()
    flow: list[Command] = []
    for number in range(QUEUE_ORDERS):
        order_id = f"{number:036}"
        book.process(PlaceOrder(order_id, "maker", Side.SELL, OrderKind.LIMIT, MIDDLE_TICKS, 1))
        if cancel:
            flow.append(CancelOrder(order_id, "maker"))
        else:
            flow.append(PlaceOrder(f"taker-{number}", "taker", Side.BUY, OrderKind.MARKET, 0, 1))
    Random(run).shuffle(flow)
    return seconds(book, flow) / QUEUE_ORDERS * 1e9


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()


def report(title: str, unit: str, values: list[float]) -> None:
    """Print median and spread."""
    print(f"{title:<52} {median(values):>11,.0f} {unit:<11} ({min(values):,.0f} to {max(values):,.0f})")


def main() -> None:
    """Run all measurements. They take about half a minute and 500 MB."""
    print_heading("python -m benchmarks.engine", ("msgspec",))
    print(f"medians of {RUNS} runs (slowest to fastest)\n")
    runs = range(RUNS)
    charted: dict[str, float] = {}
    few, many = RESTING_ORDERS
    before = resident_bytes()  # Measure this first: later the process would reuse freed memory.
    books = {few: OrderBook(), many: OrderBook()}
    fill(books[many], many)
    print(f"{many:,} resting orders: {(resident_bytes() - before) / many:,.0f} bytes each\n")

    for name, cancel_share in MIXES.items():
        rates: dict[int, list[float]] = {resting: [] for resting in RESTING_ORDERS}
        for run in runs:
            # Both books take turns, so that other load on the machine affects both.
            for resting, book in books.items():
                rates[resting].append(filled_book_rate(book, resting, cancel_share, run))
        for resting in RESTING_ORDERS:
            report(f"{name}, {resting:,} resting", "commands/s", rates[resting])
            charted[f"{name}, {resting:,} resting"] = median(rates[resting])
        ratio = median(rates[few]) / median(rates[many])
        print(f"{'':<52} {ratio:>11.2f} times the time of a command with few orders")
    print()

    for name, cancel_share in MIXES.items():
        values = [mix_rate(cancel_share, run) for run in runs]
        report(f"{name}, from an empty book", "commands/s", values)
        charted[f"{name}, from an empty book"] = median(values)
    for name, cancel in (("a fill", False), ("a cancel", True)):
        times = [queue_nanoseconds(cancel=cancel, run=run) for run in runs]
        report(f"{name} in a queue of {QUEUE_ORDERS:,}", "ns", times)
    print_chart("commands a second: medians", charted, "commands/s")


if __name__ == "__main__":
    main()
