"""Records the answers that clients receive: in the journal, as counts, or as breaches."""

import asyncio
import time
from collections import Counter
from uuid import UUID

import msgspec

from chaos.breaches import Breaches, Kind
from chaos.journal import Cancelled, ClientOrder, Journal, NotOpen, NotTaken, Placed, decode_order


class ClientLog:
    """The log that all clients share. Times are by the event loop's clock."""

    def __init__(self, journal: Journal, breaches: Breaches) -> None:
        self.journal = journal
        self.breaches = breaches
        self.counts: Counter[str] = Counter()
        self._newest_sent_at = 0.0  # The latest sending time of a newly acknowledged order.
        self._acknowledged = asyncio.Event()

    def placed(self, body: bytes, *, sent_at: float, is_new: bool) -> ClientOrder | None:
        """Record an acknowledged order, and return it. None if the answer has no valid order."""
        try:
            order = decode_order(body)
        except msgspec.DecodeError as error:
            self.breaches.add(Kind.ANSWER, f"no order in an acknowledgement: {error}: {body[:300]!r}")
            return None
        self.journal.write(Placed(time.time(), msgspec.Raw(body)))
        if is_new and sent_at > self._newest_sent_at:
            self._newest_sent_at = sent_at
            self._acknowledged.set()
        return order

    def cancelled(self, order_id: UUID) -> None:
        self.journal.write(Cancelled(time.time(), order_id))

    def not_open(self, order_id: UUID) -> None:
        self.journal.write(NotOpen(time.time(), order_id))

    def refused(self, client_id: str) -> None:
        """Record that a client's only order was refused."""
        self.journal.write(NotTaken(time.time(), client_id))

    async def wait_for_acknowledgement(self, moment: float) -> None:
        """Return once a new order that was sent after `moment` is acknowledged."""
        while self._newest_sent_at <= moment:
            self._acknowledged.clear()
            await self._acknowledged.wait()
