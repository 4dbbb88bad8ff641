"""Items that are added in one turn of an event loop are passed on together."""

import asyncio

import pytest

from base.loops import TurnBatcher


def test_items_of_one_turn_are_passed_on_together() -> None:
    batches: list[list[int]] = []
    batcher = TurnBatcher[int](batches.append)

    async def scenario() -> None:
        batcher.add(1)
        batcher.add(2)
        assert batches == []
        await asyncio.sleep(0)
        batcher.add(3)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert batches == [[1, 2], [3]]


def test_items_of_a_loop_that_ended_are_passed_on_by_the_next_loop() -> None:
    batches: list[list[int]] = []
    batcher = TurnBatcher[int](batches.append)

    async def add(number: int) -> None:
        batcher.add(number)

    ended = asyncio.new_event_loop()
    ended.call_soon(batcher.add, 1)
    ended.call_soon(ended.stop)
    ended.run_forever()
    ended.close()
    assert batches == []
    asyncio.run(add(2))
    assert batches == [[1, 2]]


def test_adding_an_item_without_a_running_loop_raises() -> None:
    with pytest.raises(RuntimeError):
        TurnBatcher[int](print).add(1)
