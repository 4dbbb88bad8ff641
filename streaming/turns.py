"""Limits the sending in each turn of the event loop, so that order entry is not delayed.

A trade may go to ten thousand clients, and a client may get ten thousand trades. Both are sent in
many turns: every outbox sends a few packets, then waits for its next turn. The loop serves
everything else between two turns.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from django.conf import settings

from base.loops import per_event_loop


class SendingTurns:
    """The outboxes of this process that wait for a turn, in the order of their requests."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], int]] = deque()
        self._is_planned = False

    def request_turn(self, take_turn: Callable[[], int]) -> None:
        """Plan one call of `take_turn`, which sends a few packets and returns the work done."""
        self._waiting.append(take_turn)
        if not self._is_planned:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self._run_turn)

    def _run_turn(self) -> None:
        work = 0
        while self._waiting and work < settings.STREAM_SENDS_PER_TURN_MAX:
            work += self._waiting.popleft()()
        self._is_planned = bool(self._waiting)
        if self._is_planned:
            asyncio.get_running_loop().call_soon(self._run_turn)


@per_event_loop
def sending_turns() -> SendingTurns:
    """Return the turns of the running event loop."""
    return SendingTurns()
