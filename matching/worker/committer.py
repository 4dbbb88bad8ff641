"""Matches and commits a batch, and does both again if the database refuses an idempotency key.

Most keys are new, so they are looked up only after the database refused one. A client that repeats
one key often repeats more, so once a key is found, keys are looked up before matching for a while.
"""

from collections.abc import Callable

from django.conf import settings

from base.loops import loop_seconds
from matching.batch.batch import Batch, Key
from matching.commit.session import KeysTaken
from matching.commit.statement import CommitResult
from matching.worker import metrics
from matching.worker.lease_keeper import LeaseKeeper
from matching.worker.partition_store import PartitionStore

# Attempts to commit a batch. Each may fail because another partition took an idempotency key.
ATTEMPTS_MAX = 8

# Takes the order ids of known idempotency keys. Runs the commands through the books and returns the
# batch and the stream position after its last command.
Match = Callable[[dict[Key, str]], tuple[Batch, str]]


class Committer:
    """Commits batches under a lease."""

    def __init__(self, store: PartitionStore, lease: LeaseKeeper) -> None:
        self._store = store
        self._lease = lease
        self._look_up_until = 0.0  # loop time until which keys are looked up before matching

    def look_keys_up_for_a_while(self) -> None:
        """Look keys up before matching for WORKER_LOOK_UP_SECONDS."""
        self._look_up_until = loop_seconds() + settings.WORKER_LOOK_UP_SECONDS

    async def match_and_commit(self, keys: list[Key], match: Match) -> tuple[Batch, CommitResult, str]:
        """Match a batch with these keys and commit it.

        Returns the batch, its CommitResult, and the position after the batch. Raises the errors of
        the commit, and RuntimeError if ATTEMPTS_MAX attempts were refused.
        """
        known_keys: dict[Key, str] = {}
        if loop_seconds() < self._look_up_until:
            known_keys = await self._find_keys(keys)
        for _ in range(ATTEMPTS_MAX):
            batch, position = match(dict(known_keys))
            try:
                return batch, await self._lease.commit(batch, position), position
            except KeysTaken:
                metrics.undone.inc()
                batch.undo()
            # Another partition may take more of the keys before the next attempt.
            known_keys = await self._find_keys(keys)
        raise RuntimeError(f"the database has refused keys of a batch {ATTEMPTS_MAX} times")

    async def _find_keys(self, keys: list[Key]) -> dict[Key, str]:
        """Return the order ids of the keys that the database has."""
        known_keys = await self._store.find_keys(keys)
        if known_keys:
            self.look_keys_up_for_a_while()
        return known_keys
