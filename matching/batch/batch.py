"""One batch: runs commands through the books and collects the resulting rows and replies.

First it does what is due: see due_work.py. Then commands follow that were deferred in earlier
batches, and then new ones: see deferred.py. A command may also end the batch before it is carried
out: see `run`.

Everything is derived from the engine's events: see recording.py. Nothing here does I/O.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

import msgspec
from django.conf import settings

from matching import engine
from matching.batch.bounds import is_below_min_notional
from matching.batch.commands import SIDES, place_order
from matching.batch.deferred import DeferredCommand, DeferredCommands, Ties, ties_of
from matching.batch.due_work import DueWork
from matching.batch.effects import NewOrder
from matching.batch.guards import Guard
from matching.batch.market_book import MarketBook, PartitionState
from matching.batch.recording import expiry_time
from orders import messages
from orders.messages import GuardAction, Reply, ReplyKind
from orders.models import Reason

Key = tuple[str, str]  # client id, idempotency key

_FORGOTTEN = "Some of the orders were cancelled. Send the request again to cancel the others."
_NO_GUARD = "The connection's cancel_on_disconnect has ended. Nothing was changed. Connect again."


def keys_of(commands: Sequence[messages.Command]) -> list[Key]:
    """Return the idempotency keys of these commands."""
    return [
        (command.client_id, command.idempotency_key)
        for command in commands
        if isinstance(command, messages.PlaceCommand) and command.idempotency_key is not None
    ]


class Batch(DueWork):
    """Runs commands and collects their effects. `undo` takes the effects back.

    If `start`, `run` or `undo` raises, the books must be loaded again.
    """

    def __init__(
        self,
        state: PartitionState,
        known_keys: dict[Key, str],
        now: datetime,
    ) -> None:
        super().__init__(state, now)
        # By API process. PLACED, CANCELLED and AMENDED replies are made after the commit.
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        self.commands = 0  # how many were run
        self.cancelled: list[messages.CancelCommand] = []  # the cancels that succeeded
        self.amended: list[messages.AmendCommand] = []  # the amends that succeeded
        self.instruments_changed = False
        self.deferred: list[DeferredCommand] = []  # in this batch
        self.resumed: list[int] = []  # the numbers of commands of earlier batches that are done
        self.running: int | None = None  # the number of the last deferred command that was begun
        self._known_keys = known_keys
        self._has_own_deferred = False

    def run(self, command: messages.Command) -> bool:
        """Carry out one command, or defer it. Returns False if it must be run again in the next batch.

        That is so if the batch has no room for what is due, or too many commands were deferred. A
        command that cancels many orders may also be carried out in part. Raises ValueError, as the
        engine does, if the command is impossible.
        """
        if self.is_full:
            return False
        state = self._state
        if state.unfinished or state.deferred:
            ties = ties_of(command, state)
            if ties.wait_for(state.unfinished, state.deferred.held):
                return self._defer(command, ties)
        return self._carry_out(command)

    def run_deferred(self, commands_max: int) -> None:
        """Carry out deferred commands that need not wait any more, until the batch is full.

        Call it before the first `run`.
        """
        if not self._state.deferred:
            return
        deferred = self._own_deferred()
        for one in deferred.ready(self._state.unfinished):
            if self.is_full or self.commands >= commands_max:
                return
            self.running = one.number
            if self._carry_out(one.command):
                self._drop_deferred(one)

    def fail_deferred(self, deferred: DeferredCommand, message: str) -> None:
        """Answer a deferred command that was not carried out."""
        self.fail(deferred.command, message)
        self._drop_deferred(deferred)

    def _drop_deferred(self, deferred: DeferredCommand) -> None:
        self._own_deferred().remove(deferred.number)
        self.resumed.append(deferred.number)

    def _defer(self, command: messages.Command, ties: Ties) -> bool:
        if len(self._state.deferred) >= settings.WORKER_DEFERRED_COMMANDS_MAX:
            return False
        self.deferred.append(self._own_deferred().add(command, ties))
        return True

    def _own_deferred(self) -> DeferredCommands:
        """Return the deferred commands to change, which `undo` takes back."""
        state, before = self._state, self._state.deferred
        if not self._has_own_deferred:
            self._has_own_deferred = True
            state.deferred = before.copy()
            self._undo_others.append(lambda: setattr(state, "deferred", before))
        return state.deferred

    def _carry_out(self, command: messages.Command) -> bool:
        """Carry out a command. Returns False if the rest of it must be run in the next batch."""
        self.commands += 1
        if (
            isinstance(command, messages.GuardedCommand)
            and command.guard is not None
            and command.guard not in self._state.guards
        ):
            self.fail(command, _NO_GUARD)
        elif isinstance(command, messages.PlaceCommand):
            self._place(command)
        elif isinstance(command, messages.CancelCommand):
            self._cancel(command)
        elif isinstance(command, messages.AmendCommand):
            self._amend(command)
        elif isinstance(command, messages.CancelAllCommand):
            self._cancel_all(command)
        elif isinstance(command, messages.CancelAfterCommand):
            self._set_switch(command)
        elif isinstance(command, messages.GuardCommand):
            return self._change_guard(command)
        elif isinstance(command, messages.ListGuards):
            guards = self._state.guards.of_process(command.reply_to)
            self._add_reply(command, ReplyKind.DONE, msgspec.json.encode(list(guards)))
        elif isinstance(command, messages.AwaitKey):
            self._add_reply(command, ReplyKind.DONE)
        elif isinstance(command, messages.InspectBooks):
            states = {
                symbol: messages.BookState(market.book.sequence, market.book.state_hash())
                for symbol, market in self._state.books.items()
            }
            self._add_reply(command, ReplyKind.DONE, msgspec.json.encode(states))
        else:
            self.instruments_changed = True
            self._add_reply(command, ReplyKind.DONE)
        return True

    def fail(self, command: messages.Command, message: str) -> None:
        """Answer a command that was not carried out."""
        self._add_reply(command, ReplyKind.FAILED, message.encode())

    def _add_reply(self, command: messages.Command, kind: ReplyKind, body: bytes = b"") -> None:
        self.replies[command.reply_to].append(Reply(command.request_id, kind, body))

    def _place(self, command: messages.PlaceCommand) -> None:
        market = self._state.books.get(command.instrument)
        if market is None:
            self.fail(command, "This partition does not trade the instrument.")
            return
        if command.idempotency_key is not None:
            key = (command.client_id, command.idempotency_key)
            earlier = self._known_keys.setdefault(key, command.order_id)
            if earlier != command.order_id:
                self._add_reply(command, ReplyKind.DUPLICATE, earlier.encode())
                return
        order = self.orders[command.order_id] = NewOrder(
            command,
            market.instrument,
            command.price_ticks,
            command.quantity_lots,
            command.trigger_price_ticks,
            None,
        )
        if command.expires_at_ms is not None:
            order.expires_at = expiry_time(command.expires_at_ms)
            self.expires(command.order_id, command.expires_at_ms)
            if command.expires_at_ms <= self.now_ms:
                order.cancel(Reason.EXPIRED.value, market.book.sequence)
                return
        if market.instrument.halted:
            order.reject(Reason.INSTRUMENT_HALTED.value, market.book.sequence)
            return
        placed = place_order(
            order_id=command.order_id,
            client_id=command.client_id,
            side=command.side,
            order_type=command.order_type,
            price_ticks=command.price_ticks,
            quantity_lots=command.quantity_lots,
            time_in_force=command.time_in_force,
            post_only=command.post_only,
            self_trade_prevention=command.self_trade_prevention,
            trigger_price_ticks=command.trigger_price_ticks,
        )
        refusal = self._bounds.refusal(market, placed) or self._process(market, placed)
        if refusal is not None:
            order.reject(refusal, market.book.sequence)

    def _cancel(self, command: messages.CancelCommand) -> None:
        found = self._find_for(command)
        if found is None:
            return
        market, order = found
        reason = engine.CancelReason.OPERATOR if command.by_operator else engine.CancelReason.CLIENT_REQUEST
        self._take_off(market, order, reason)
        self.cancelled.append(command)

    def _amend(self, command: messages.AmendCommand) -> None:
        found = self._find_for(command)
        if found is None:
            return
        market, order = found
        expiry = self._state.deadlines.expiry_of(order.order_id)
        due_ms = command.expires_at_ms
        is_due = due_ms is not None and due_ms <= self.now_ms
        if is_due:  # The order must not trade any more. So only its time changes, and it expires.
            command = msgspec.structs.replace(
                command, price_ticks=None, quantity_lots=None, trigger_price_ticks=None
            )
        amend = engine.AmendOrder(
            order.order_id,
            order.client_id,
            command.price_ticks,
            command.quantity_lots,
            command.trigger_price_ticks,
            changes_expiry=due_ms is not None and (expiry is None or expiry.due_ms != due_ms),
            is_halted=market.instrument.halted,
        )
        refusal = self._amend_refusal(market, order, command) or self._process(market, amend)
        if refusal is not None:
            self._add_reply(command, ReplyKind.AMEND_REFUSED, refusal.encode())
            return
        if amend.changes_expiry and due_ms is not None:
            self._change_expiry(market, order.order_id, due_ms)
        if is_due:
            self._take_off(market, order, engine.CancelReason.EXPIRED)
        self.amended.append(command)

    def _amend_refusal(
        self, market: MarketBook, order: engine.PlaceOrder, command: messages.AmendCommand
    ) -> str | None:
        """Return the reason why an order may not have another price or quantity, or None."""
        price_ticks = command.price_ticks
        if is_below_min_notional(market, order, price_ticks, command.quantity_lots):
            return messages.AmendRefusal.BELOW_MIN_NOTIONAL.value
        if price_ticks is None or price_ticks == order.price_ticks or market.instrument.halted:
            return None
        if market.book.is_waiting(order.order_id):
            return None
        return self._bounds.level_refusal(market, order.side, price_ticks)

    def _change_expiry(self, market: MarketBook, order_id: str, due_ms: int) -> None:
        expiry = self._state.deadlines.expiry_of(order_id)
        if expiry is not None:  # otherwise the amended order has traded completely
            self.set_expiry(expiry._replace(due_ms=due_ms))
            self.change_of(market, order_id).expires_at = expiry_time(due_ms)

    def _find_for(
        self, command: messages.CancelCommand | messages.AmendCommand
    ) -> tuple[MarketBook, engine.PlaceOrder] | None:
        """Return the command's book and order. If there is none, this answers the command."""
        market = self._state.books.get(command.instrument)
        order = None if market is None else market.book.find(command.order_id)
        if market is None or order is None:
            # The instrument may have moved to another partition. The desk finds out which.
            self._add_reply(command, ReplyKind.NOT_OPEN)
            return None
        if command.client_id not in ("", order.client_id):
            self._add_reply(command, ReplyKind.NOT_OPEN, messages.NOT_OWNER)
            return None
        return market, order

    def _cancel_all(self, command: messages.CancelAllCommand) -> None:
        """Cancel the orders that the client had before the first piece, until the batch is full."""
        first_id = command.continues or command.request_id
        if command.continues is None:
            left = self._orders_of(command)
        elif first_id in self._state.mass_cancels:
            left = self._state.mass_cancels[first_id]
        else:
            self.fail(command, _FORGOTTEN)
            return
        cancelled: list[str] = []
        done = 0
        for symbol, order_id in left:
            done += 1
            market = self._state.books.get(symbol)
            order = None if market is None else market.book.find(order_id)
            if market is not None and order is not None:  # it is still open
                self._take_off(market, order, engine.CancelReason.CLIENT_REQUEST)
                cancelled.append(order_id)
            if self.is_full:
                break
        self._keep_left(first_id, left[done:])
        result = messages.CancelledOrders(
            len(cancelled), cancelled[: settings.CANCELLED_IDS_MAX], is_more=done < len(left)
        )
        self._add_reply(command, ReplyKind.CANCELLED_ALL, msgspec.json.encode(result))

    def _orders_of(self, command: messages.CancelAllCommand) -> list[tuple[str, str]]:
        """Return the symbols and ids of the orders that a mass cancel is about."""
        side = None if command.side is None else SIDES[command.side]
        return [
            (symbol, order_id)
            for symbol, market in self._state.books.items()
            if command.instrument in (None, symbol)
            for order_id in market.orders.of(command.client_id)
            if side is None or ((order := market.book.find(order_id)) is not None and order.side is side)
        ]

    def _keep_left(self, first_id: str, left: list[tuple[str, str]]) -> None:
        """Keep what a mass cancel has yet to cancel. If there are too many, forget the oldest."""
        state, before = self._state, self._state.mass_cancels
        kept = {request_id: orders for request_id, orders in before.items() if request_id != first_id}
        if left:
            kept[first_id] = left
        if len(kept) > settings.WORKER_MASS_CANCELS_MAX:
            del kept[next(iter(kept))]
        state.mass_cancels = kept
        self._undo_others.append(lambda: setattr(state, "mass_cancels", before))

    def _set_switch(self, command: messages.CancelAfterCommand) -> None:
        seconds = command.timeout_seconds
        due_ms = self.now_ms + 1000 * seconds if seconds else None
        self.set_switch(command.client_id, due_ms)
        self.switches[command.client_id] = expiry_time(due_ms)
        self._add_reply(command, ReplyKind.DONE, msgspec.json.encode(due_ms))

    def _change_guard(self, command: messages.GuardCommand) -> bool:
        """Arm, disarm or end a guard. Returns False if more orders are left than this batch can cancel."""
        guard = self._state.guards.get(command.connection_id)
        if command.action is GuardAction.END:
            self._end_guard(command.connection_id)
            if self.is_full:
                return False
        elif guard is None and not command.may_create:
            self.fail(command, _NO_GUARD)
            return True
        else:
            others = () if guard is None else guard.client_ids
            others = tuple(client_id for client_id in others if client_id != command.client_id)
            added = (command.client_id,) if command.action is GuardAction.ARM else ()
            self.set_guard(command.connection_id, Guard(command.reply_to, others + added))
        self._add_reply(command, ReplyKind.DONE)
        return True
