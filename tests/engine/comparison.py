"""Runs the same steps through the engine and the reference, and compares them at each step."""

from collections import Counter
from collections.abc import Iterable

from matching.engine import ClientOrders, Event, OrderBook, OrderTriggered, PlaceOrder, Side
from tests.engine.flows import Enter, InstructedFlow, Mix, Step
from tests.engine.ledger import Ledger
from tests.engine.reference import ReferenceBook

IdsByClient = dict[str, set[str]]


class Comparison:
    """One flow on both books. `seen` counts events by their kind and reason."""

    def __init__(self, mix: Mix, seed: int) -> None:
        self.engine, self.reference = OrderBook(), ReferenceBook()
        self.flow = InstructedFlow(mix, seed, self.reference)
        self.seen: Counter[str] = Counter()
        self.commands = 0
        self._ledger = Ledger()
        self._clients = ClientOrders()
        self._where = f"{mix.name}, seed {seed}"
        # What `compare_state` needs to take the steps since the last comparison back.
        self._steps: list[Step] = []
        self._events: list[Event] = []
        self._last_price_ticks: int | None = None
        self._state_hash = self.engine.state_hash()

    def run(self, commands: int, *, compared_every: int) -> None:
        """Run commands with all their triggered orders. Compares events always, state at times."""
        end = self.commands + commands
        while self.commands < end or self.reference.triggered:
            self.step()
            if len(self._steps) >= compared_every:
                self.compare_state()
        self.compare_state()

    def step(self) -> tuple[Step, list[Event]]:
        """Run one step, compare its events, and check what holds for all events."""
        step = self.flow.next_step()
        self.commands += not isinstance(step.action, Enter)
        expected, events = step.apply(self.reference), step.apply(self.engine)
        assert events == expected, f"{self._where}, command {self.commands}: {step}"
        self._ledger.apply(events)
        for event in events:
            self._clients.apply(event)
        best_bid, best_ask = self.engine.best_bid, self.engine.best_ask
        assert best_bid is None or best_ask is None or best_bid < best_ask, f"crossed by {step}"
        self._steps.append(step)
        self._events += events
        self._count(step, events)
        return step, events

    def compare_state(self) -> None:
        """Compare the books, and let the engine take its latest steps back and repeat them."""
        engine, reference = self.engine, self.reference
        compare(engine, reference)
        engine.undo(self._events, self._last_price_ticks)
        assert engine.state_hash() == self._state_hash, f"{self._where}: undo of {self._steps}"
        repeated = [event for step in self._steps for event in step.apply(engine)]
        assert repeated == self._events, f"{self._where}: repeated {self._steps}"
        assert engine.state_hash() == reference.state_hash(), self._where
        assert restored(reference).state_hash() == reference.state_hash(), self._where
        assert orders_by_client(self._clients) == recount(reference), self._where
        self._steps, self._events = [], []
        self._last_price_ticks, self._state_hash = engine.last_price_ticks, engine.state_hash()

    def _count(self, step: Step, events: list[Event]) -> None:
        for event in events:
            reason = getattr(event, "reason", None)
            name = type(event).__name__
            self.seen[name if reason is None else f"{name} {reason}"] += 1
            if isinstance(step.action, Enter) and isinstance(event, OrderTriggered):
                self.seen["triggered by a triggered order"] += 1


def compare(engine: OrderBook, reference: ReferenceBook) -> None:
    """Compare all that the books tell about their state."""
    assert engine.state_hash() == reference.state_hash()
    assert engine.depth() == reference.depth()
    assert engine.depth(3) == reference.depth(3)
    for side in Side:
        assert engine.order_count(side) == reference.order_count(side)
        assert engine.level_count(side) == reference.level_count(side)
    for name in ("sequence", "last_price_ticks", "best_bid", "best_ask", "waiting_count", "next_triggered"):
        assert getattr(engine, name) == getattr(reference, name), name
    assert len(engine) == len(reference)
    assert recount_of(engine) == recount(reference)
    for side in Side:
        assert all(engine.find(one.order.order_id) == one.order for one in reference.resting[side])
    assert all(engine.find(one.order_id) == one for one in reference.waiting + reference.triggered)


def restored(reference: ReferenceBook) -> OrderBook:
    """Return a book of the engine that was restored from the reference's orders."""
    book = OrderBook(sequence=reference.sequence, last_price_ticks=reference.last_price_ticks)
    for side in Side:
        for resting in reference.resting[side]:
            book.restore(resting.order, resting.remaining_lots)
    for order in reference.waiting:
        book.restore_waiting(order)
    for order in reference.triggered:
        book.restore_waiting(order, is_triggered=True)
    return book


def recount(reference: ReferenceBook) -> tuple[IdsByClient, IdsByClient]:
    """Return the ids of each client's resting, and of its waiting orders."""
    resting = [one.order for side in Side for one in reference.resting[side]]
    return _ids_by_client(resting), _ids_by_client(reference.waiting + reference.triggered)


def recount_of(engine: OrderBook) -> tuple[IdsByClient, IdsByClient]:
    """Return what `recount` returns, for a book of the engine."""
    waiting = list(engine._waiting)
    resting_ids = engine._orders.keys() - {order.order_id for order in waiting}
    return _ids_by_client(engine._orders[order_id].order for order_id in resting_ids), _ids_by_client(waiting)


def orders_by_client(orders: ClientOrders) -> tuple[IdsByClient, IdsByClient]:
    """Return what `recount` returns, as ClientOrders knows it."""
    return dict(orders.resting), dict(orders.waiting)


def _ids_by_client(orders: Iterable[PlaceOrder]) -> IdsByClient:
    found: IdsByClient = {}
    for order in orders:
        found.setdefault(order.client_id, set()).add(order.order_id)
    return found
