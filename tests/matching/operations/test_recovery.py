"""Books loaded from the database equal those in memory, and invalid books are refused."""

from decimal import Decimal
from io import StringIO

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from base.database import read_database
from instruments.models import Instrument
from marketdata.book import read_book_from_database
from matching.management.commands.run_matching import partition_of
from matching.recovery import count_live_orders, load_books
from orders.models import Order
from tests.engine.flows import SHAPES, Shape
from tests.matching.live import live_worker, run_scenario, submit
from tests.matching.partition import Partition, cancel, place, random_commands

pytestmark = pytest.mark.usefixtures("instruments")


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_loaded_books_equal_the_live_ones(shape: Shape, seed: int) -> None:
    partition = Partition()
    commands = list(random_commands(shape, seed=seed, commands=400))
    for number in range(0, len(commands), 25 + seed):
        partition.run(*commands[number : number + 25 + seed])
        if number % 4 == 0:
            loaded = load_books(0)
            hashes = {symbol: market.book.state_hash() for symbol, market in loaded.items()}
            assert hashes == partition.state_hashes()
    assert count_live_orders(0) == sum(len(market.book) for market in load_books(0).values())


def test_the_price_levels_from_the_database_equal_the_books() -> None:
    partition = Partition()
    partition.run(*random_commands(SHAPES[1], seed=4, commands=400))
    for market in partition.books.values():
        book = read_book_from_database(market.instrument)
        assert book.sequence == market.book.sequence
        bids, asks = market.book.depth()
        assert [tuple(level) for level in book.bids] == [tuple(level) for level in bids]
        assert [tuple(level) for level in book.asks] == [tuple(level) for level in asks]


def test_loading_reports_its_progress() -> None:
    Partition().run(*(place("buy", 100 + number, 1) for number in range(30)))
    reported: list[int] = []
    load_books(0, progress=reported.append)
    assert sum(reported) == count_live_orders(0) == 30


def test_only_the_partitions_own_instruments_are_loaded() -> None:
    Instrument.objects.filter(symbol="SOL-USD").update(partition=1)
    assert set(load_books(0)) == {"BTC-USD", "ETH-USD"}
    assert set(load_books(1)) == {"SOL-USD"}


def recover(*options: str) -> str:
    output = StringIO()
    call_command("recover", *options, stdout=output)
    return output.getvalue()


def test_recover_prints_the_books_that_it_found() -> None:
    partition = Partition()
    gone = place("buy", 6_999_990, 5)
    partition.run(
        gone,
        place("buy", 6_999_950, 2),
        place("buy", 6_999_940, 2),
        place("sell", 7_000_050, 7),
        cancel(gone),
    )
    output = recover()
    book = partition.books["BTC-USD"].book
    assert "2 bids, 1 asks" in output
    assert "best bid    69999.5\n" in output
    assert "best ask    70000.5\n" in output
    assert f"sequence    {book.sequence}\n" in output
    assert book.state_hash() in output
    assert "partition 0: 3 orders in 3 books" in output
    assert "ETH-USD" in output


def test_recover_loads_only_the_partition_that_is_given() -> None:
    Instrument.objects.filter(symbol="SOL-USD").update(partition=3)
    assert "SOL-USD" in (output := recover("--partition", "3"))
    assert "BTC-USD" not in output
    with pytest.raises(CommandError, match=r"partition 7 has no instruments.*\[0, 3\]"):
        recover("--partition", "7")


def test_recover_without_instruments_says_what_to_do() -> None:
    Instrument.objects.all().delete()
    with pytest.raises(CommandError, match="no instruments"):
        recover()


@pytest.mark.usefixtures("redis")
def test_the_check_fails_without_a_worker_and_says_what_to_do() -> None:
    with pytest.raises(CommandError, match="run_matching --partition 0") as failed:
        recover("--check")
    assert failed.value.returncode == 1


@pytest.mark.usefixtures("redis")
def test_the_check_compares_the_database_with_the_live_worker() -> None:
    order = place("buy", 100, 4)

    def change_quantity(lots: int) -> None:
        Order.objects.filter(order_id=order.order_id).update(quantity=lots * Decimal("0.00000001"))

    async def scenario() -> tuple[str, CommandError]:
        async with live_worker() as gateway:
            await submit(msgspec.structs.replace(order, reply_to=gateway.process_id))
            checked = await read_database(recover, "--check")
            await read_database(change_quantity, 5)
            with pytest.raises(CommandError) as failed:
                await read_database(recover, "--check")
            await read_database(change_quantity, 4)
            return checked, failed.value

    checked, failure = run_scenario(scenario())
    assert "partition 0: the live worker has the same books" in checked
    assert "BTC-USD: not the same orders at sequence 1" in str(failure)
    assert "ETH-USD" not in str(failure)
    assert failure.returncode == 1


BROKEN = {
    "crosses": "UPDATE orders_order SET price = 200 WHERE side = 'buy'",
    "off the grid": "UPDATE orders_order SET price = 0.995 WHERE side = 'buy'",
    "remaining_lots=0": "UPDATE orders_order SET filled_quantity = quantity WHERE side = 'buy'",
}


@pytest.mark.parametrize("reason", BROKEN)
def test_an_invalid_book_is_refused(reason: str) -> None:
    Partition().run(place("buy", 100, 10), place("sell", 101, 10))
    load_books(0)  # the control
    (constraint,) = [one for one in Order._meta.constraints if one.name == "order_status_matches_fills"]
    with connection.schema_editor() as editor:
        editor.remove_constraint(Order, constraint)
    try:
        with connection.cursor() as cursor:
            cursor.execute(BROKEN[reason])
        with pytest.raises(CommandError, match=f"not a valid book: .*{reason}"):
            recover()
    finally:
        Order.objects.all().delete()
        with connection.schema_editor() as editor:
            editor.add_constraint(Order, constraint)


def test_a_worker_takes_a_whole_partition() -> None:
    Instrument.objects.filter(symbol="SOL-USD").update(partition=1)
    assert partition_of(["BTC-USD", "ETH-USD"]) == partition_of(["BTC-USD"]) == 0
    assert partition_of(["SOL-USD"]) == 1


@pytest.mark.parametrize(
    ("symbols", "reason"),
    [
        ("DOGE-USD,BTC-USD", "unknown instruments: DOGE-USD"),
        ("BTC-USD,SOL-USD", r"partitions \[0, 1\]: start a worker for each"),
    ],
)
def test_a_worker_is_not_started_on_unknown_instruments_or_several_partitions(
    symbols: str, reason: str
) -> None:
    Instrument.objects.filter(symbol="SOL-USD").update(partition=1)
    with pytest.raises(CommandError, match=reason):
        call_command("run_matching", "--instruments", symbols)
