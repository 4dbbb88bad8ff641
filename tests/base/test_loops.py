"""What comes in one turn of the event loop is handed on once, whatever loop it came in."""

import asyncio

import pytest

from base.loops import TurnBatcher


def test_what_one_turn_brings_is_handed_on_together() -> None:
    handed: list[list[int]] = []
    batcher = TurnBatcher[int](handed.append)

    async def scenario() -> None:
        batcher.add(1)
        batcher.add(2)
        assert handed == []
        await asyncio.sleep(0)
        batcher.add(3)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert handed == [[1, 2], [3]]


def test_what_a_loop_left_behind_is_handed_on_by_the_next_one() -> None:
    handed: list[list[int]] = []
    batcher = TurnBatcher[int](handed.append)

    async def add(number: int) -> None:
        batcher.add(number)

    ended = asyncio.new_event_loop()
    ended.call_soon(batcher.add, 1)
    ended.call_soon(ended.stop)
    ended.run_forever()
    ended.close()
    assert handed == []
    asyncio.run(add(2))
    assert handed == [[1, 2]]


def test_nothing_is_gathered_without_a_loop() -> None:
    with pytest.raises(RuntimeError):
        TurnBatcher[int](print).add(1)
