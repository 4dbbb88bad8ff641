"""Writes the mirror of the books in Redis; marketdata.book reads it and describes it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from marketdata.book import MirrorKeys, mirror_keys
from matching.batch import BookChange
from matching.checkpoint import LeaseLost
from matching.engine import Level, Side
from matching.recovery import MarketBook
from rest.redis import Command

_SCRIPT = (Path(__file__).parent / "mirror.lua").read_text()
LEVELS_PER_COMMAND = 1_000


class MirrorWriter:
    """One mirror a book. Every method raises redis.RedisError.

    `epoch` is the lease's: a worker that was frozen while another took over must not write its old book over the
    new one. `move_command` needs no such guard, as a sequence has one history; it writes the epoch all the same,
    for a Redis that came back older may have forgotten it.
    """

    def __init__(self, redis: Redis) -> None:
        self.epoch = 0
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)

    async def load_script(self) -> None:
        """The server forgets scripts when it restarts; EVALSHA does not bring them back."""
        await self._redis.script_load(_SCRIPT)

    def move_command(self, change: BookChange) -> Command:
        """Write a book's change; the answer is 0 where the mirror must be rebuilt."""
        arguments: list[str | int] = [change.previous_sequence, change.sequence, self.epoch]
        for (side, ticks), (lots, orders) in change.levels.items():
            arguments += [
                "b" if side is Side.BUY else "a",
                ticks,
                f"{ticks}:{lots}:{orders}" if orders else "",
            ]
        keys = mirror_keys(change.instrument.partition, change.instrument.symbol)
        return ("EVALSHA", self._script.sha, len(keys) + 1, *keys, _epoch_key(keys), *arguments)

    async def is_current(self, market: MarketBook) -> bool:
        """Whether the mirror is at the book's sequence, and known to be ours."""
        keys = _keys(market)
        written = await self._redis.mget(keys.sequence, _epoch_key(keys))
        return written == [b"%d" % market.book.sequence, b"%d" % self.epoch]

    async def rebuild(self, market: MarketBook) -> None:
        """Write the whole book, in one step for its readers. Raises LeaseLost where a later worker has."""
        keys = _keys(market)
        bids, asks = market.book.depth()
        epoch_key = _epoch_key(keys)
        async with self._redis.pipeline(transaction=True) as pipeline:
            await pipeline.watch(epoch_key)
            written: Any = await pipeline.get(epoch_key)
            if written is not None and int(written) > self.epoch:
                raise LeaseLost(f"epoch={self.epoch}: the mirror is of epoch {int(written)}")
            pipeline.multi()  # type: ignore[no-untyped-call]
            pipeline.set(epoch_key, self.epoch)
            pipeline.delete(*keys)
            for key, levels in ((keys.bids, bids), (keys.asks, asks)):
                for start in range(0, len(levels), LEVELS_PER_COMMAND):
                    pipeline.zadd(key, dict(_members(levels[start : start + LEVELS_PER_COMMAND])))
            pipeline.set(keys.sequence, market.book.sequence)
            await pipeline.execute()


def _keys(market: MarketBook) -> MirrorKeys:
    return mirror_keys(market.instrument.partition, market.instrument.symbol)


def _epoch_key(keys: MirrorKeys) -> str:
    return f"{keys.sequence}:epoch"


def _members(levels: Iterable[Level]) -> Iterable[tuple[str, int]]:
    for level in levels:
        member = f"{level.price_ticks}:{level.quantity_lots}:{level.orders}"
        yield member, level.price_ticks
