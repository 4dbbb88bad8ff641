"""Looks after the guards of one API process, as long as it has any.

It shows signs of life to the workers, arms guards in partitions that are new, finds out which
guards are lost, and ends the guards of connections that have ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

import msgspec
import uuid_utils
from django.conf import settings
from redis.exceptions import RedisError

from base.loops import loop_seconds, per_event_loop
from base.outages import Outage
from base.redis import RedisSession, connect_redis
from base.refusals import InvalidRequest, Refusal, Unavailable
from instruments.directory import InstrumentDirectory, directory
from orders.gateway import GatewayReply, OrderGateway, Submission, current_gateway
from orders.gateway.outcomes import replies_of
from orders.guards.guard import Guard
from orders.messages import GuardAction, GuardCommand, ListGuards, ReplyKind, life_key

logger = logging.getLogger(__name__)

# If a sign of life could not be written, orders would be cancelled. So it is written even if the
# server's memory is full.
_SHOW_LIFE = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"
_decode_ids = msgspec.json.Decoder(list[str]).decode

Outcome = GatewayReply | Refusal


class GuardKeeper:
    """The guards of one event loop's connections."""

    def __init__(
        self, gateway: OrderGateway, instruments: InstrumentDirectory, session: RedisSession
    ) -> None:
        self._gateway = gateway
        self._instruments = instruments
        self._session = session
        self._guards: dict[str, Guard] = {}  # by connection, until they have ended in all partitions
        self._ends: dict[str, asyncio.Task[None]] = {}  # by connection
        self._watches: dict[str, asyncio.Task[None]] = {}  # what goes on while there are guards
        self._signs = 0  # of life that were shown
        self._shown_at: float | None = None  # loop time at which the last one was sent
        self._check_at = 0.0  # loop time of the next check
        self._outage = Outage(logger, "Redis: signs of life for guards can't be shown")

    async def set_guarded(
        self, guard: Guard, client_id: str, *, enabled: bool, partitions: Iterable[int]
    ) -> None:
        """Guard the orders of a client in all partitions, or no longer guard them.

        It counts as one cancel in each of them. Raises InvalidRequest if the connection guards too
        many clients. Raises RateLimited, Unavailable, OutcomeUnknown: then it may be done in some
        partitions.
        """
        if guard.has_ended:
            raise Unavailable("The connection's cancel_on_disconnect has ended. Connect again.")
        if enabled:
            self._add(guard, client_id)
        elif not guard.sent_to:
            return  # The guard was never armed.
        action = GuardAction.ARM if enabled else GuardAction.DISARM
        with guard.changing():
            changes = [(client_id, partition) for partition in partitions]
            outcomes = await self._change(guard, action, changes, counted_for=client_id)
            replies_of(outcomes, ReplyKind.DONE)
            if enabled:
                guard.promise(client_id)
            else:
                guard.release(client_id)

    def end(self, guard: Guard) -> None:
        """End the guard of a connection that has ended, in all partitions, however long it takes."""
        guard.has_ended = True
        connection_id = guard.connection_id
        if connection_id in self._guards and connection_id not in self._ends:
            self._ends[connection_id] = asyncio.create_task(self._end(guard), name="end-guard")

    async def wait_for_end(self, guard: Guard) -> None:
        """Wait until a guard has ended in all partitions, for at most GUARD_END_SECONDS_MAX."""
        ending = self._ends.get(guard.connection_id)
        if ending is not None:
            await asyncio.wait({ending}, timeout=settings.GUARD_END_SECONDS_MAX)

    async def aclose(self) -> None:
        """Stop all work, and close the connection to Redis."""
        tasks = [*self._watches.values(), *self._ends.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.disconnect()

    def _add(self, guard: Guard, client_id: str) -> None:
        """Look after a guard from now on. Raises InvalidRequest, Unavailable if there is no room."""
        if client_id not in guard.client_ids and len(guard.client_ids) >= settings.STREAM_GUARDED_CLIENTS_MAX:
            message = f"A connection may have it for {settings.STREAM_GUARDED_CLIENTS_MAX} clients at most."
            raise InvalidRequest(fields={"client_id": [message]})
        is_new = guard.connection_id not in self._guards
        if is_new and len(self._guards) >= settings.STREAM_GUARDED_CONNECTIONS_MAX:
            raise Unavailable("Too many connections have cancel_on_disconnect. Try again later.")
        guard.client_ids.add(client_id)
        self._guards[guard.connection_id] = guard
        for watch in (self._show_life_forever, self._tend_forever):
            task = self._watches.get(watch.__name__)
            if task is None or task.done():
                self._watches[watch.__name__] = asyncio.create_task(watch(), name="guards")

    async def _change(
        self,
        guard: Guard,
        action: GuardAction,
        changes: Iterable[tuple[str, int]],
        *,
        counted_for: str | None = None,
    ) -> list[Outcome]:
        """Change a guard for clients in partitions, and return the outcomes.

        Each command counts against the limit of the client `counted_for`, if it is given. If a
        partition has lost the guard, the connection is told.
        """
        submissions: list[Submission] = []
        commands: list[GuardCommand] = []
        for client_id, partition in changes:
            command = GuardCommand(
                request_id=str(uuid_utils.uuid7()),
                reply_to=self._gateway.process_id,
                connection_id=guard.connection_id,
                action=action,
                client_id=client_id,
                may_create=partition not in guard.kept_in,
            )
            commands.append(command)
            submissions.append(Submission(command, partition, counted_for))
            guard.sent_to.add(partition)
        outcomes = await self._gateway.submit_many(submissions)
        for command, submission, outcome in zip(commands, submissions, outcomes, strict=True):
            if isinstance(outcome, Refusal):
                continue
            if outcome.reply.kind is not ReplyKind.DONE:
                guard.lose()
            elif action is GuardAction.ARM:
                guard.note_armed(command.client_id, submission.partition)
            elif action is GuardAction.DISARM:
                guard.note_disarmed(command.client_id, submission.partition)
        return outcomes

    async def _partitions(self) -> set[int]:
        """Return the partitions that have instruments, as far as this process knows."""
        with contextlib.suppress(Unavailable):
            instruments = await self._instruments.all()
            return {instrument.partition for instrument in instruments.values()}
        return set()

    # --- Ends -------------------------------------------------------------------------------------

    async def _end(self, guard: Guard) -> None:
        """End a guard in all partitions. Tries again until each has done it."""
        ended: set[int] = set()
        pause = settings.GUARD_RETRY_SECONDS_MIN
        # A partition that has lost its instruments may have no worker any more, and has no orders.
        while left := (await self._partitions() or guard.sent_to) - ended:
            try:
                ended |= await self._end_in(guard, left)
            except Exception:
                logger.exception("a guard could not be ended, and is tried again")
            if left - ended:
                await asyncio.sleep(pause)
                pause = min(2 * pause, settings.GUARD_RETRY_SECONDS_MAX)
        del self._guards[guard.connection_id], self._ends[guard.connection_id]

    async def _end_in(self, guard: Guard, partitions: set[int]) -> set[int]:
        """End a guard in partitions. Returns those that have done it."""
        # A partition that is new may have orders of the clients, but does not have the guard.
        armed = await self._change(guard, GuardAction.ARM, guard.missing_in(partitions))
        if any(isinstance(outcome, Refusal) for outcome in armed):
            return set()
        outcomes = await self._change(guard, GuardAction.END, [("", partition) for partition in partitions])
        return {
            partition
            for partition, outcome in zip(partitions, outcomes, strict=True)
            if isinstance(outcome, GatewayReply) and outcome.reply.kind is ReplyKind.DONE
        }

    # --- What goes on while there are guards ------------------------------------------------------

    async def _show_life_forever(self) -> None:
        self._shown_at = None
        while self._guards:
            pause = settings.GUARD_RENEW_SECONDS
            try:
                await self._show_life()
                self._outage.ended()
            except (RedisError, OSError) as error:
                self._outage.failed(error)
                pause = settings.GUARD_RETRY_SECONDS_MIN
            except Exception as error:  # Go on: without signs of life, orders would be cancelled.
                self._outage.failed(error, traceback=True)
            await asyncio.sleep(pause)

    async def _show_life(self) -> None:
        """Show a sign of life to the workers of all partitions. Raises RedisError, OSError.

        If the last sign was long ago, workers may have ended guards meanwhile. Then the guards are
        checked.
        """
        partitions = {partition for guard in self._guards.values() for partition in guard.sent_to}
        began = loop_seconds()
        self._signs += 1
        expiry_milliseconds = int(settings.GUARD_EXPIRY_SECONDS * 1000)
        await self._session.run(
            *(
                (
                    *("EVAL", _SHOW_LIFE, 1, life_key(partition, self._gateway.process_id)),
                    *(self._signs, expiry_milliseconds),
                )
                for partition in partitions
            )
        )
        if self._shown_at is not None and loop_seconds() - self._shown_at >= settings.GUARD_DOUBT_SECONDS:
            self._check_at = loop_seconds()
        self._shown_at = began

    async def _tend_forever(self) -> None:
        self._check_at = loop_seconds() + settings.GUARD_CHECK_SECONDS
        while self._guards:
            await asyncio.sleep(settings.GUARD_RENEW_SECONDS)
            await self._attempt(self._arm_in_new_partitions)
            if loop_seconds() >= self._check_at:
                self._check_at = loop_seconds() + settings.GUARD_CHECK_SECONDS
                await self._attempt(self._check_guards)

    async def _attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception:
            logger.exception("guards could not be looked after")

    async def _arm_in_new_partitions(self) -> None:
        """Arm guards in partitions that had no instruments when the guards were armed."""
        partitions = await self._partitions()
        for guard in list(self._guards.values()):
            if not guard.has_ended and not partitions <= guard.kept_in:
                await self._change(guard, GuardAction.ARM, guard.missing_in(partitions))

    async def _check_guards(self) -> None:
        """Compare the guards with those that the workers have.

        A guard that a worker does not have is lost. A guard whose connection has ended is ended.
        """
        for partition in {partition for guard in self._guards.values() for partition in guard.sent_to}:
            kept = [guard for guard in self._guards.values() if partition in guard.kept_in]
            process_id = self._gateway.process_id
            command = ListGuards(request_id=str(uuid_utils.uuid7()), reply_to=process_id)
            try:
                reply = (await self._gateway.submit(command, partition=partition, client_id=None)).reply
            except Refusal:
                self._check_at = loop_seconds()  # Try again.
                continue
            if reply.kind is not ReplyKind.DONE:
                continue
            found = set(_decode_ids(reply.body))
            for guard in kept:
                if guard.connection_id not in found:
                    guard.lose()
            for connection_id in found - self._guards.keys():
                end = GuardCommand(
                    request_id=str(uuid_utils.uuid7()),
                    reply_to=process_id,
                    connection_id=connection_id,
                    action=GuardAction.END,
                )
                with contextlib.suppress(Refusal):
                    await self._gateway.submit(end, partition=partition, client_id=None)


@per_event_loop
def current_keeper() -> GuardKeeper:
    """Return the keeper of the running event loop, which uses the loop's gateway."""
    return GuardKeeper(current_gateway(), directory, RedisSession(connect_redis()))
