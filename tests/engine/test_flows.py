"""Long random flows: engine and reference give the same events, and end with the same book.

`python -m tests.engine` runs longer ones.
"""

from collections import Counter
from typing import get_args

import pytest

from matching.engine import CancelReason, Event, OrderBook, RejectReason
from tests.engine.comparison import Comparison, compare, restored
from tests.engine.flows import CANCELS, MIXES, SHAPES, Mix, Shape, flow
from tests.engine.reference import ReferenceBook

PLAIN_COMMANDS = 4_000  # for each of 5 shapes
INSTRUCTED_COMMANDS = 6_000  # for each of 5 mixes
COMPARED_EVERY = 60  # steps


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_engine_and_reference_give_the_same_events(shape: Shape) -> None:
    book, reference = OrderBook(), ReferenceBook()
    for number, command in enumerate(flow(shape, seed=1, commands=PLAIN_COMMANDS)):
        assert book.process(command) == reference.process(command), f"command {number}: {command}"
        if number % 500 == 0:
            compare(book, reference)
    assert book.sequence > 0
    compare(book, reference)


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_engine_and_reference_agree_about_all_instructions(mix: Mix) -> None:
    """This also takes the engine's steps back, repeats them, and restores the book: see comparison.py."""
    comparison = Comparison(mix, seed=1)
    comparison.run(INSTRUCTED_COMMANDS, compared_every=COMPARED_EVERY)
    assert comparison.reference.sequence > INSTRUCTED_COMMANDS / 2


def test_the_flows_reach_every_event_and_reason() -> None:
    seen: Counter[str] = Counter()
    for mix in MIXES:
        comparison = Comparison(mix, seed=2)
        comparison.run(1_000, compared_every=1_000)
        seen += comparison.seen
    ends = set(CancelReason) - {*CANCELS, CancelReason.OPERATOR, CancelReason.DISCONNECTED}
    expected = {f"RemainderCancelled {reason}" for reason in ends}
    expected |= {f"CommandRejected {reason}" for reason in RejectReason}
    for kind in ("OrderCancelled", "WaitingCancelled"):
        expected |= {f"{kind} {reason}" for reason in CANCELS}
    expected |= {"OrderCancelled self_trade", "triggered by a triggered order"}
    with_reasons = {name.partition(" ")[0] for name in expected}
    expected |= {kind.__name__ for kind in get_args(Event)} - with_reasons
    assert expected - set(seen) == set()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_same_flow_twice_ends_in_the_same_state(shape: Shape) -> None:
    books = OrderBook(), OrderBook()
    for book in books:
        for command in flow(shape, seed=7, commands=1_000):
            book.process(command)
    assert books[0].state_hash() == books[1].state_hash()


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_a_restored_book_continues_like_the_original(mix: Mix) -> None:
    comparison = Comparison(mix, seed=3)
    comparison.run(300, compared_every=300)
    book = restored(comparison.reference)
    for _ in range(300):
        step, events = comparison.step()
        assert step.apply(book) == events
    assert book.state_hash() == comparison.engine.state_hash()
