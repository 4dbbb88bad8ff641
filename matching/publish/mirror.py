"""Writes the mirrors of the books in Redis. marketdata/book.py describes and reads them.

Changes of a book are written as changes of its mirror. A lost or new mirror is built under other
keys, in pieces of MIRROR_LEVELS_PER_COMMAND, and replaces the old mirror in one step. So readers
never see a part of a book, and no command keeps Redis busy for long.

If Redis has no memory for both, the old mirror is dropped first. If that is not enough, the book
has no mirror for MIRROR_RETRY_SECONDS: its readers use the database, and matching goes on.
"""

import logging
import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from django.conf import settings
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from base.loops import loop_seconds
from base.redis import Command
from marketdata.book import MirrorKeys, mirror_keys
from matching.batch.effects import BookChange
from matching.batch.market_book import MarketBook
from matching.commit.checkpoint import LeaseLost
from matching.engine import Level, Side
from matching.scripts import read_script

logger = logging.getLogger(__name__)

BUILD_MILLISECONDS = 60_000
"""The longest time between two pieces of a build. An abandoned build expires after that time."""

MOVE = read_script("mirror_move")
BEGIN = read_script("mirror_begin")
ADD = f"#!lua\n{read_script('mirror_add')}"
ADD_FEW = f"#!lua flags=allow-oom\n{read_script('mirror_add')}"  # for small books
FINISH = read_script("mirror_finish")
DROP = read_script("mirror_drop")


class BuildLost(RedisError):
    """A part of a mirror was lost during its build, for example because Redis was replaced."""


class MirrorWriter:
    """Writes one mirror for each book. Every method raises redis.RedisError.

    `epoch` is the lease's epoch. It keeps a worker that was frozen, and then replaced, from writing
    its old book over the new one. `move_command` does not need this guard: it only changes a mirror
    at the change's previous sequence, and each sequence has one state of the book. It writes the
    epoch all the same, because a Redis that came back with older data may have lost the epoch.
    """

    def __init__(self, redis: Redis) -> None:
        self.epoch = 0
        self._redis = redis
        self._move = redis.register_script(MOVE)
        self._begin = redis.register_script(BEGIN)
        self._add = redis.register_script(ADD)
        self._add_few = redis.register_script(ADD_FEW)
        self._finish = redis.register_script(FINISH)
        self._drop = redis.register_script(DROP)
        self._retry_at: dict[str, float] = {}  # loop time of the next build, by symbol

    async def load_script(self) -> None:
        """Load the script that `move_command` runs by its hash. A restarted server has lost it."""
        await self._redis.script_load(MOVE)

    def move_command(self, change: BookChange) -> Command:
        """Return the command that writes a book's change.

        Its answer is 0 if a rebuild is needed.
        """
        arguments: list[str | int] = [change.previous_sequence, change.sequence, self.epoch]
        for (side, ticks), (lots, orders) in change.levels.items():
            arguments += [
                "b" if side is Side.BUY else "a",
                ticks,
                f"{ticks}:{lots}:{orders}" if orders else "",
            ]
        keys = mirror_keys(change.instrument.partition, change.instrument.symbol)
        return ("EVALSHA", self._move.sha, len(keys) + 1, *keys, _epoch_key(keys), *arguments)

    def is_given_up(self, symbol: str) -> bool:
        """Return whether Redis had no room for the mirror, and it is too early to try again."""
        return loop_seconds() < self._retry_at.get(symbol, 0.0)

    async def find_lost(self, markets: Sequence[MarketBook]) -> list[MarketBook]:
        """Return the books whose mirror has another sequence, or was written under another lease.

        All mirrors are asked in one round trip. Mirrors that are given up are left out.
        """
        asked = [market for market in markets if not self.is_given_up(market.instrument.symbol)]
        if not asked:
            return []
        keys = [_mirror_keys_of(market) for market in asked]
        written = await self._redis.mget(
            *(key for mirror in keys for key in (mirror.sequence, _epoch_key(mirror)))
        )
        epoch = b"%d" % self.epoch
        return [
            market
            for market, *found in zip(asked, written[::2], written[1::2], strict=True)
            if found != [b"%d" % market.book.sequence, epoch]
        ]

    async def rebuild(self, market: MarketBook) -> None:
        """Write the whole book, or give up for MIRROR_RETRY_SECONDS if Redis has no room.

        Raises LeaseLost if a later worker has written the mirror.
        """
        symbol = market.instrument.symbol
        try:
            try:
                await self._build(market)
            except OutOfMemoryError:
                await self._remove(market)
                await self._build(market)
        except OutOfMemoryError as error:
            await self._remove(market)
            if symbol not in self._retry_at:
                logger.warning(
                    "the mirror of %s (%d orders) has no room in Redis, reads go to the database: %s",
                    *(symbol, len(market.book), error),
                )
            self._retry_at[symbol] = loop_seconds() + settings.MIRROR_RETRY_SECONDS
        else:
            if self._retry_at.pop(symbol, None) is not None:
                logger.info("the mirror of %s has room again", symbol)

    async def _build(self, market: MarketBook) -> None:
        keys = _mirror_keys_of(market)
        staged = _staged_keys(keys)
        name = uuid.uuid4().hex
        later = await self._begin(
            keys=[*staged, _epoch_key(keys)], args=[self.epoch, name, BUILD_MILLISECONDS]
        )
        if later:
            raise LeaseLost(f"epoch={self.epoch}: the mirror is of epoch {int(later)}")
        bids, asks = market.book.depth()
        add = self._add_few if len(bids) + len(asks) <= settings.MIRROR_LEVELS_PER_COMMAND else self._add
        for key, levels in ((staged.bids, bids), (staged.asks, asks)):
            for members in _level_pieces(levels):
                arguments = [name, BUILD_MILLISECONDS, *members]
                if not await add(keys=[staged.build, key], args=arguments):
                    raise BuildLost(f"the mirror of {market.instrument.symbol} was lost while it was built")
        finished = await self._finish(
            keys=[*staged, *keys], args=[name, market.book.sequence, len(bids), len(asks)]
        )
        if not finished:
            raise BuildLost(f"the mirror of {market.instrument.symbol} was lost while it was built")

    async def _remove(self, market: MarketBook) -> None:
        keys = _mirror_keys_of(market)
        if not await self._drop(keys=[_epoch_key(keys), *keys, *_staged_keys(keys)], args=[self.epoch]):
            raise LeaseLost(f"epoch={self.epoch}: the mirror is of a later epoch")


class _StagedKeys(NamedTuple):
    """The keys of a mirror that is being built. The key `build` holds the build's name."""

    build: str
    bids: str
    asks: str


def _mirror_keys_of(market: MarketBook) -> MirrorKeys:
    return mirror_keys(market.instrument.partition, market.instrument.symbol)


def _staged_keys(keys: MirrorKeys) -> _StagedKeys:
    return _StagedKeys(f"{keys.sequence}:build", f"{keys.bids}:staged", f"{keys.asks}:staged")


def _epoch_key(keys: MirrorKeys) -> str:
    return f"{keys.sequence}:epoch"


def _level_pieces(levels: Iterable[Level]) -> Iterator[list[Any]]:
    """Yield arguments for ZADD: scores and members of up to MIRROR_LEVELS_PER_COMMAND levels."""
    rows = (
        (level.price_ticks, f"{level.price_ticks}:{level.quantity_lots}:{level.orders}") for level in levels
    )
    while piece := list(chain.from_iterable(islice(rows, settings.MIRROR_LEVELS_PER_COMMAND))):
        yield piece
