"""The desk of one event loop: joins the parts, and adds operators' commands."""

import msgspec
import uuid_utils

from base.loops import per_event_loop
from base.refusals import Unavailable
from instruments.directory import directory
from orders import messages
from orders.desk.mass import MassCancelling
from orders.desk.placing import Placing
from orders.gateway import current_gateway
from orders.guards import Guard
from orders.look_ups import desk_reads
from orders.messages import ReplyKind


class OrderDesk(Placing, MassCancelling):
    """Places, amends and cancels orders for clients, and sends operators' commands to the workers."""

    def behind(self, guard: Guard) -> "OrderDesk":
        """Return a desk for the requests of one connection, whose commands carry its guard."""
        return OrderDesk(self._gateway, self._reads, self._instruments, guard)

    async def reload_instruments(self, partition: int) -> None:
        """Make a partition's worker reload the instruments. Raises Unavailable, OutcomeUnknown."""
        request_id, process_id = str(uuid_utils.uuid7()), self._gateway.process_id
        await self._run_operator_command(
            messages.ReloadInstruments(request_id=request_id, reply_to=process_id), partition
        )

    async def inspect_books(self, partition: int) -> dict[str, messages.BookState]:
        """Return the sequence and state hash of every order book of a partition, by symbol.

        Raises Unavailable, OutcomeUnknown.
        """
        request_id, process_id = str(uuid_utils.uuid7()), self._gateway.process_id
        body = await self._run_operator_command(
            messages.InspectBooks(request_id=request_id, reply_to=process_id), partition
        )
        return msgspec.json.decode(body, type=dict[str, messages.BookState])

    async def _run_operator_command(self, command: messages.Command, partition: int) -> bytes:
        """Send an operator's command and return the reply's body.

        Raises Unavailable, OutcomeUnknown.
        """
        reply = (await self._gateway.submit(command, partition=partition, client_id=None)).reply
        if reply.kind is not ReplyKind.DONE:
            raise Unavailable(reply.body.decode() or None)
        return reply.body


@per_event_loop
def current_desk() -> OrderDesk:
    """Return the desk of the running event loop, which uses the loop's gateway."""
    return OrderDesk(current_gateway(), desk_reads(), directory)
