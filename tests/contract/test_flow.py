"""Long random flows: the exchange trades like the reference book, and the stream shows its book."""

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from random import Random
from typing import Any

from instruments.grid import Grid
from loadtools.local_book import LocalBook
from matching.engine import CancelOrder, CommandRejected, OrderKind, PlaceOrder, Side, Trade
from tests.contract.client import Client, order_body
from tests.contract.market import Market
from tests.contract.stream import Stream
from tests.engine.flows import SHAPES, Shape, flow
from tests.engine.reference import ReferenceBook
from tests.system.exchange import RunningExchange

COMMANDS = {"uvicorn": 120, "daphne": 100}  # in each flow; 2,400 and 2,000 in all
FLOWS = [(shape, seed) for shape in SHAPES for seed in range(4)]
COMPARED_EVERY = 100
SIDES = {Side.BUY: "buy", Side.SELL: "sell"}
GRID = Grid.of(Decimal("0.01"), Decimal("0.00000001"))

Levels = tuple[list[tuple[Any, Any, int]], list[tuple[Any, Any, int]]]


def price_of(ticks: int) -> Decimal:
    return Decimal(GRID.price.text(ticks))


def quantity_of(lots: int) -> Decimal:
    return Decimal(GRID.quantity.text(lots))


class Comparison:
    """Sends commands to the exchange and to the reference book, and compares their results.

    The exchange chooses the ids of orders. `order_ids` maps the ids of the flow to them.
    """

    def __init__(self, client: Client, instrument: str) -> None:
        self.client = client
        self.instrument = instrument
        self.reference = ReferenceBook()
        self.order_ids: dict[str, str] = {}

    def run(self, command: PlaceOrder | CancelOrder) -> None:
        if isinstance(command, CancelOrder):
            self._cancel(command)
        # A flow may use an id twice. Clients of the exchange can't, because they don't choose ids.
        elif command.order_id not in self.order_ids:
            self._place(command)

    def _place(self, command: PlaceOrder) -> None:
        limit = command.kind is OrderKind.LIMIT
        price = GRID.price.text(command.price_ticks) if limit else None
        quantity = GRID.quantity.text(command.quantity_lots)
        body = order_body(self.instrument, SIDES[command.side], quantity, price, client_id=command.client_id)
        order = self.client.post("/orders", body).json
        self.order_ids[command.order_id] = order["order_id"]
        expected = [
            (price_of(event.price_ticks), quantity_of(event.quantity_lots))
            for event in self.reference.process(command)
            if isinstance(event, Trade)
        ]
        fills = [(fill["price"], fill["quantity"]) for fill in order["trades"]]
        assert fills == expected, command

    def _cancel(self, command: CancelOrder) -> None:
        path = f"/orders/{self.order_ids[command.order_id]}/cancel"
        status = self.client.post(path, {"client_id": command.client_id}).status
        (event,) = self.reference.process(command)
        assert (status == 200) == (not isinstance(event, CommandRejected)), (status, event)
        assert status in (200, 404, 409)

    def compare_books(self) -> None:
        assert self.client.book(self.instrument)["sequence"] == self.reference.sequence
        bids, asks = (
            [(price_of(level.price_ticks), quantity_of(level.quantity_lots), level.orders) for level in side]
            for side in self.reference.depth()
        )
        assert self.client.levels(self.instrument) == (bids, asks)


def test_random_flows_give_the_same_trades_and_books_as_the_reference(
    asgi_server: str, exchange: RunningExchange, market: Market
) -> None:
    """All flows run at the same time, each on an instrument of its own."""

    def run(chosen: tuple[Shape, int], instrument: str) -> None:
        shape, seed = chosen
        with Client(exchange.url) as client:
            comparison = Comparison(client, instrument)
            for number, command in enumerate(flow(shape, seed=seed, commands=COMMANDS[asgi_server])):
                comparison.run(command)
                if number % COMPARED_EVERY == 0:
                    comparison.compare_books()
            comparison.compare_books()

    instruments = [market.fresh_instrument() for _ in FLOWS]
    with ThreadPoolExecutor(len(FLOWS)) as threads:
        list(threads.map(run, FLOWS, instruments))


class Follower(threading.Thread):
    """Applies deltas until `last_sequence` is set and reached, and keeps the book at every sequence."""

    def __init__(self, stream: Stream, snapshot: Any) -> None:
        super().__init__()
        self._stream = stream
        self._book = LocalBook(snapshot)
        self.history: dict[int, Levels] = {self._book.sequence: self._book.levels()}
        self.last_sequence: int | None = None
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while self.last_sequence is None or self._book.sequence < self.last_sequence:
                self._book.apply(self._stream.receive())
                self.history[self._book.sequence] = self._book.levels()
        except BaseException as error:
            self.failure = error


def trade_at_random(url: str, instrument: str, number: int, failures: list[BaseException]) -> None:
    """Place and cancel one client's orders. A cancel may come too late."""
    random = Random(number)
    placed: list[str] = []
    try:
        with Client(url) as client:
            for _ in range(40):
                if placed and random.random() < 0.3:
                    order_id = placed.pop(random.randrange(len(placed)))
                    assert client.post(f"/orders/{order_id}/cancel").status in (200, 409)
                    continue
                side, price = random.choice(("buy", "sell")), Decimal(random.randint(990, 1010)) / 100
                body = order_body(instrument, side, random.randint(1, 9), str(price), client_id=f"t-{number}")
                if random.random() < 0.15:
                    body = order_body(instrument, side, random.randint(1, 30), client_id=f"t-{number}")
                answer = client.post("/orders", body)
                assert answer.status == 201, answer.text
                placed.append(answer.json["order_id"])
    except BaseException as error:
        failures.append(error)


def test_deltas_and_rest_give_the_same_book_at_every_sequence(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    failures: list[BaseException] = []
    recorded: dict[int, Levels] = {}
    with Stream(exchange.ws_url) as stream:
        stream.subscribe("orderbook_deltas", instrument=instrument)
        follower = Follower(stream, *stream.expect("orderbook_snapshot"))
        follower.start()
        traders = [
            threading.Thread(target=trade_at_random, args=(exchange.url, instrument, number, failures))
            for number in range(20)
        ]
        for trader in traders:
            trader.start()
        while any(trader.is_alive() for trader in traders):
            record_book(client, instrument, recorded)
        follower.last_sequence = record_book(client, instrument, recorded) + 1
        # The follower checks `last_sequence` after each delta, so it needs one more.
        client.place(instrument, "buy", 1, "0.01")
        follower.join()
    assert failures == []
    assert follower.failure is None
    assert len(recorded) > 20
    for sequence, levels in recorded.items():
        assert follower.history[sequence] == levels, f"sequence {sequence}"


def record_book(client: Client, instrument: str, recorded: dict[int, Levels]) -> int:
    """Store the book that REST shows now, and return its sequence. One sequence has only one book."""
    book = client.book(instrument)
    bids, asks = (
        [(level["price"], level["quantity"], level["orders"]) for level in book[side]]
        for side in ("bids", "asks")
    )
    sequence: int = book["sequence"]
    assert recorded.setdefault(sequence, (bids, asks)) == (bids, asks)
    return sequence
