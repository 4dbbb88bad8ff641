"""Everything that crosses the stream between the API processes and the matching worker.

A command is one stream entry, msgpack in its field `c`; replies go back over one Redis channel per API process,
many in a message. Prices are ticks, quantities lots. Arrays on the wire, fields in the order written here: new
fields go last, with a default.
"""

from enum import StrEnum

import msgspec

COMMAND_FIELD = b"c"


class PlaceOrder(
    msgspec.Struct, tag_field="command", tag="place", array_like=True, frozen=True, kw_only=True
):
    """Take an order. `order_id` is also the id of the request that waits for the reply."""

    order_id: str
    reply_to: str
    client_id: str
    instrument: str
    side: str
    type: str
    price_ticks: int  # 0 for a market order
    quantity_lots: int
    idempotency_key: str | None = None

    @property
    def request_id(self) -> str:
        return self.order_id


class CancelOrder(
    msgspec.Struct, tag_field="command", tag="cancel", array_like=True, frozen=True, kw_only=True
):
    """Take a resting order off the book."""

    request_id: str
    reply_to: str
    client_id: str  # the owner's; "" if whoever asks does not say: then the book does
    instrument: str
    order_id: str
    by_operator: bool = False


class ReloadInstruments(
    msgspec.Struct, tag_field="command", tag="reload", array_like=True, frozen=True, kw_only=True
):
    """Instruments were changed in the database: read them again before the next command."""

    request_id: str
    reply_to: str


class InspectBooks(
    msgspec.Struct, tag_field="command", tag="inspect", array_like=True, frozen=True, kw_only=True
):
    """Tell sequence and state hash of every book."""

    request_id: str
    reply_to: str


Command = PlaceOrder | CancelOrder | ReloadInstruments | InspectBooks


class ReplyKind(StrEnum):
    PLACED = "placed"  # body: the order as REST shows it
    DUPLICATE = "duplicate"  # body: the id of the order that has the idempotency key
    CANCELLED = "cancelled"  # body: the order as REST shows it, or empty if it has fills of earlier batches
    NOT_OPEN = "not_open"  # body: NOT_OWNER, or empty
    DONE = "done"  # body: JSON of what was asked for
    FAILED = "failed"  # body: what went wrong, for the client; nothing was changed


NOT_OWNER = b"not_owner"  # the order is open, and another client's than the command says


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """The answer to one command, sent after its effects are committed."""

    request_id: str
    kind: ReplyKind
    body: bytes = b""


class BookState(msgspec.Struct, frozen=True):
    """One book in the answer to InspectBooks."""

    sequence: int
    state_hash: str


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode


def stream_key(partition: int) -> str:
    """The stream of a partition's commands. The braces keep a partition's keys on one node of a Redis Cluster."""
    return f"exchange:{{{partition}}}:commands"


def dead_letters_key(partition: int) -> str:
    """Entries of the stream that were no commands."""
    return f"exchange:{{{partition}}}:dead-letters"


def heartbeat_key(partition: int) -> str:
    """Exists while a worker matches this partition."""
    return f"exchange:{{{partition}}}:heartbeat"


def rate_key(partition: int, client_id: str) -> str:
    """Counts a client's orders."""
    return f"exchange:{{{partition}}}:rate:{client_id}"


def cancel_rate_key(partition: int, client_bucket: int) -> str:
    """Counts the cancels of the clients of a bucket: see orders/order_ids.py."""
    return f"exchange:{{{partition}}}:cancel-rate:{client_bucket}"


def reply_channel(process_id: str) -> str:
    return f"exchange:replies:{process_id}"
