"""Long random flows: engine and reference give the same events, and end with the same book."""

import pytest

from matching.engine import OrderBook, Side
from tests.engine.flows import SHAPES, Shape, flow
from tests.engine.reference import ReferenceBook

COMMANDS = 10_000
SEEDS = (1, 2)  # 5 shapes, 2 seeds: 100,000 commands


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_engine_and_reference_give_the_same_events(shape: Shape, seed: int) -> None:
    book, reference = OrderBook(), ReferenceBook()
    for number, command in enumerate(flow(shape, seed=seed, commands=COMMANDS)):
        assert book.process(command) == reference.process(command), f"command {number}: {command}"
        best_bid, best_ask = book.best_bid, book.best_ask
        assert best_bid is None or best_ask is None or best_bid < best_ask, f"crossed by {number}: {command}"
        if number % 1_000 == 0:
            assert book.depth() == reference.depth()
            assert book.state_hash() == reference.state_hash()
    assert book.sequence == reference.sequence > 0
    assert (book.best_bid, book.best_ask) == (reference.best_bid, reference.best_ask)
    assert book.depth() == reference.depth()
    assert book.depth(3) == reference.depth(3)
    assert book.state_hash() == reference.state_hash()
    for side in Side:
        assert book.order_count(side) == reference.order_count(side)
    assert len(book) == len(reference)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_same_flow_twice_ends_in_the_same_state(shape: Shape) -> None:
    books = OrderBook(), OrderBook()
    for book in books:
        for command in flow(shape, seed=7, commands=5_000):
            book.process(command)
    assert books[0].state_hash() == books[1].state_hash()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_restored_book_continues_like_the_original(shape: Shape) -> None:
    commands = list(flow(shape, seed=3, commands=4_000))
    before, reference = OrderBook(), ReferenceBook()
    for command in commands[:2_000]:
        before.process(command)
        reference.process(command)
    restored = OrderBook(sequence=before.sequence)
    for side in Side:
        for order in reference.orders[side]:
            restored.restore(
                order_id=order.order_id,
                client_id=order.client_id,
                side=order.side,
                price_ticks=order.price_ticks,
                remaining_lots=order.remaining_lots,
            )
    assert restored.state_hash() == before.state_hash()
    for command in commands[2_000:]:
        assert restored.process(command) == before.process(command)
    assert restored.state_hash() == before.state_hash()
