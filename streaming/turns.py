"""Limits the sending in each turn of the event loop, so that order entry is not delayed.

A trade may go to ten thousand clients, and a client may get ten thousand trades. Both are sent in
many turns: every outbox sends a few packets, then waits for its next turn. The loop serves
everything else between two turns.
"""

import asyncio
from collections import deque
from typing import Protocol

from django.conf import settings

from base.loops import per_event_loop


class Sender(Protocol):
    """An outbox that has packets to send."""

    def take_turn(self) -> int:
        """Send a few packets in the next turn of the loop; returns at least 1 for each."""
        ...


class SendingTurns:
    """The outboxes of this process that wait for a turn, in the order of their requests."""

    def __init__(self) -> None:
        self._waiting: deque[Sender] = deque()
        self._is_planned = False

    def request_turn(self, sender: Sender) -> None:
        """Plan one call of the sender's `take_turn`."""
        self._waiting.append(sender)
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._run_turn)

    def _run_turn(self) -> None:
        work = 0
        while self._waiting and work < settings.STREAM_SENDS_PER_TURN_MAX:
            work += self._waiting.popleft().take_turn()
        self._is_planned = bool(self._waiting)
        if self._is_planned:
            asyncio.get_running_loop().call_soon(self._run_turn)


@per_event_loop
def sending_turns() -> SendingTurns:
    """Return the turns of the running event loop."""
    return SendingTurns()
