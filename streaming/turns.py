"""Which outboxes send in a turn of the event loop: a bounded amount of work, so that orders find their turns.

One trade may be for ten thousand clients, and one client may have ten thousand trades to hear. Both are sent in
many turns: a few packets of each outbox in each round. Between two turns the loop serves everything else.
"""

import asyncio
from collections import deque
from typing import Protocol

from django.conf import settings

from base.loops import per_event_loop


class Sender(Protocol):
    """An outbox that has something to send."""

    def go(self) -> int:
        """Send a few packets in the next turn; returns how many units of work that is."""
        ...


class SendingTurns:
    """The outboxes of this process that wait for their turn, first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[Sender] = deque()
        self._is_planned = False

    def ask(self, sender: Sender) -> None:
        """`go` of the sender is called once, soon."""
        self._waiting.append(sender)
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._grant)

    def _grant(self) -> None:
        work = 0
        while self._waiting and work < settings.STREAM_SENDS_PER_TURN_MAX:
            work += self._waiting.popleft().go()
        self._is_planned = bool(self._waiting)
        if self._is_planned:
            asyncio.get_running_loop().call_soon(self._grant)


@per_event_loop
def sending_turns() -> SendingTurns:
    """The turns of the running event loop."""
    return SendingTurns()
