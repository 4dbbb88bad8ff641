"""Compare engines and flows of commands in turns: `python -m benchmarks.engine_turns`.

On a shared machine the speed changes from second to second, so a rate of one minute says little about
a rate of the next. Here two books in one process take turns: each processes 1,000 commands of its
flow, then the other does, and so on. The result is the median of the ratios of neighbouring turns.

Without options it compares, in a book that starts with 10,000 resting orders:

- a flow with 15 % IOC orders, 20 % amends, 20 % cancels and 5 % stops with a flow of plain orders;
- the flow of plain orders in a book with 100,000 waiting orders with the same without any.

`--before ../before` compares this engine with that of another checkout, in flows of plain orders
without cancels and with 25 %. Times are processor times.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from random import Random
from statistics import median
from time import process_time
from types import ModuleType
from typing import Any, NamedTuple

from benchmarks.engine import CLIENTS, LOTS_PER_UNIT, MIDDLE_TICKS, SPREAD_TICKS, UNITS_MAX, copied
from benchmarks.report import print_heading

TURN_COMMANDS = 1_000
TURNS = 200
RESTING_ORDERS = 10_000
WAITING_ORDERS = 100_000


class Mix(NamedTuple):
    """The shares of each kind of command. What is left are plain limit orders."""

    market: float = 0.0
    cancels: float = 0.0
    amends: float = 0.0
    stops: float = 0.0
    ioc: float = 0.0


NO_CANCELS = Mix(market=0.30)
CANCELS = Mix(market=0.225, cancels=0.25)
INSTRUCTED = Mix(market=0.10, cancels=0.20, amends=0.20, stops=0.05, ioc=0.15)


class Competitor(NamedTuple):
    """A book, and the commands that it will process."""

    process: Callable[[Any], Any]
    commands: Sequence[Any]


def flow(engine: ModuleType, mix: Mix, commands: int, seed: str) -> Iterator[Any]:
    """Yield the commands of a mix for this engine. Equal arguments give equal commands."""
    random = Random(seed)
    placed: list[tuple[str, str]] = []
    for number in range(commands):
        drawn = random.random()
        if placed and drawn < mix.cancels + mix.amends:
            at = random.randrange(len(placed))
            placed[at], placed[-1] = placed[-1], placed[at]
            if drawn < mix.cancels:
                yield engine.CancelOrder(*map(copied, placed.pop()))
            else:
                yield engine.AmendOrder(*map(copied, placed[-1]), price_ticks=price(random))
            continue
        order = placement(engine, mix, random, drawn - mix.cancels - mix.amends, number)
        if order.kind is not engine.OrderKind.MARKET:
            placed.append((order.order_id, order.client_id))
        yield order


def placement(engine: ModuleType, mix: Mix, random: Random, drawn: float, number: int) -> Any:
    """Return a new order of the kind that the drawn number, at least 0, stands for."""
    side = engine.Side(random.randrange(2))
    terms: dict[str, Any] = {"kind": engine.OrderKind.LIMIT, "price_ticks": price(random)}
    if drawn < mix.market:
        terms = {"kind": engine.OrderKind.MARKET, "price_ticks": 0}
    elif drawn < mix.market + mix.stops:
        away_ticks = (2 * SPREAD_TICKS) * (1 if side is engine.Side.BUY else -1)
        terms = {"kind": engine.OrderKind.STOP, "price_ticks": 0}
        terms["trigger_price_ticks"] = price(random) + away_ticks
    elif drawn < mix.market + mix.stops + mix.ioc:
        terms["instructions"] = engine.instructions_of(time_in_force=engine.TimeInForce.IOC)
    return engine.PlaceOrder(
        order_id=f"{number:036}",
        client_id=f"client-{random.randrange(CLIENTS)}",
        side=side,
        quantity_lots=random.randint(1, UNITS_MAX) * LOTS_PER_UNIT,
        **terms,
    )


def price(random: Random) -> int:
    """Return a limit price in ticks."""
    return MIDDLE_TICKS + random.randint(-SPREAD_TICKS, SPREAD_TICKS)


def filled_book(engine: ModuleType, waiting: int = 0) -> Any:
    """Return a book with resting orders that do not trade, and stops that are far away."""
    random = Random(RESTING_ORDERS)
    book = engine.OrderBook()
    for number in range(RESTING_ORDERS):
        side = engine.Side(random.randrange(2))
        away_ticks = random.randint(1, SPREAD_TICKS) * (-1 if side is engine.Side.BUY else 1)
        order = (f"resting-{number:028}", f"client-{random.randrange(CLIENTS)}", side)
        quantity_lots = random.randint(1, UNITS_MAX) * LOTS_PER_UNIT
        book.process(
            engine.PlaceOrder(*order, engine.OrderKind.LIMIT, MIDDLE_TICKS + away_ticks, quantity_lots)
        )
    for number in range(waiting):
        side = engine.Side(random.randrange(2))
        away_ticks = 2 * SPREAD_TICKS + random.randrange(100 * SPREAD_TICKS)
        book.process(
            engine.PlaceOrder(
                order_id=f"waiting-{number:028}",
                client_id=f"client-{random.randrange(CLIENTS)}",
                side=side,
                kind=engine.OrderKind.STOP,
                price_ticks=0,
                quantity_lots=LOTS_PER_UNIT,
                trigger_price_ticks=MIDDLE_TICKS + (away_ticks if side is engine.Side.BUY else -away_ticks),
            )
        )
    return book


def competitor(engine: ModuleType, mix: Mix, waiting: int = 0) -> Competitor:
    """Return a filled book with its flow."""
    commands = list(flow(engine, mix, TURNS * TURN_COMMANDS, seed=str(mix)))
    return Competitor(filled_book(engine, waiting).process, commands)


def compare(title: str, new: Competitor, old: Competitor) -> None:
    """Let the two take turns, and print the median rate of the new one, and of its part of the old."""
    rates: list[float] = []
    ratios: list[float] = []
    for number in range(TURNS):
        turn = slice(number * TURN_COMMANDS, (number + 1) * TURN_COMMANDS)
        new_commands, old_commands = new.commands[turn], old.commands[turn]
        if number % 2:
            new_seconds = seconds(new.process, new_commands)
            old_seconds = seconds(old.process, old_commands)
        else:
            old_seconds = seconds(old.process, old_commands)
            new_seconds = seconds(new.process, new_commands)
        rates.append(TURN_COMMANDS / new_seconds)
        ratios.append(old_seconds / new_seconds)
    print(f"{title:<62} {median(rates):>9,.0f} commands/s {median(ratios):>6.3f} x")


def seconds(process: Callable[[Any], Any], commands: Sequence[Any]) -> float:
    """Return the processor time that a book needs for these commands."""
    start = process_time()
    for command in commands:
        process(command)
    return process_time() - start


def engine_of(folder: Path) -> ModuleType:
    """Import the engine of another checkout beside this one's."""
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "matching"}
    for name in ours:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        return import_module("matching.engine")
    finally:
        sys.path.pop(0)
        for name in [name for name in sys.modules if name.split(".")[0] == "matching"]:
            del sys.modules[name]
        sys.modules.update(ours)


def main() -> None:
    """Run the comparisons. They take about half a minute."""
    parser = argparse.ArgumentParser(description="Compare engines and flows of commands in turns.")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="compare with this checkout's engine")
    before_folder = parser.parse_args().before
    print_heading("python -m benchmarks.engine_turns", ("msgspec",))
    print(f"medians of {TURNS} turns of {TURN_COMMANDS:,} commands\n")
    engine = import_module("matching.engine")
    if before_folder is not None:
        before = engine_of(before_folder)
        for title, mix in (("no cancels", NO_CANCELS), ("25 % cancels", CANCELS)):
            compare(f"{title}, and the engine before", competitor(engine, mix), competitor(before, mix))
        return
    plain = competitor(engine, NO_CANCELS)
    compare("IOC, amends, cancels, stops, and plain orders", competitor(engine, INSTRUCTED), plain)
    many, none = competitor(engine, NO_CANCELS, WAITING_ORDERS), competitor(engine, NO_CANCELS)
    compare(f"{WAITING_ORDERS:,} waiting orders, and none", many, none)


if __name__ == "__main__":
    main()
