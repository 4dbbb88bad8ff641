"""The commands and replies between the API processes and the matching worker.

A command is one entry of a Redis stream, with msgpack in its field `c`. Replies are sent on one
Redis channel for each API process, many in one message. Prices are in ticks and quantities in lots.
Structs are encoded as arrays, with the fields in the order of their definition here. New fields
must be added at the end, with a default.

`guard` names the connection to /stream that sent a command, if this connection has a guard. Once
the guard has ended, the worker refuses the command: see orders/guards/.
"""

from enum import StrEnum

import msgspec

from instruments.choices import SelfTradePrevention, TimeInForce

COMMAND_FIELD = b"c"


class PlaceCommand(
    msgspec.Struct, tag_field="command", tag="place", array_like=True, frozen=True, kw_only=True
):
    """Place an order. `order_id` also identifies the request that waits for the reply."""

    order_id: str
    reply_to: str
    client_id: str
    instrument: str
    side: str
    order_type: str
    price_ticks: int  # 0 for an order without a price
    quantity_lots: int
    idempotency_key: str | None = None
    terms: int | None = None  # of an order with a key: see OrderRequest.terms
    time_in_force: str = TimeInForce.GTC.value
    post_only: bool = False
    self_trade_prevention: str = SelfTradePrevention.NONE.value
    trigger_price_ticks: int = 0  # 0 for an order without a trigger
    expires_at_ms: int | None = None  # Unix time, of a gtd order
    guard: str | None = None

    @property
    def request_id(self) -> str:
        return self.order_id


class CancelCommand(
    msgspec.Struct, tag_field="command", tag="cancel", array_like=True, frozen=True, kw_only=True
):
    """Cancel a resting or waiting order."""

    request_id: str
    reply_to: str
    client_id: str  # the owner's; if it is "", any client's order is cancelled
    instrument: str
    order_id: str
    by_operator: bool = False
    guard: str | None = None


class AmendCommand(
    msgspec.Struct, tag_field="command", tag="amend", array_like=True, frozen=True, kw_only=True
):
    """Change a resting or waiting order. None leaves a value as it is."""

    request_id: str
    reply_to: str
    client_id: str  # the owner's; if it is "", any client's order is amended
    instrument: str
    order_id: str
    price_ticks: int | None = None
    quantity_lots: int | None = None  # the new total
    trigger_price_ticks: int | None = None
    expires_at_ms: int | None = None
    guard: str | None = None


class CancelAllCommand(
    msgspec.Struct, tag_field="command", tag="cancel_all", array_like=True, frozen=True, kw_only=True
):
    """Cancel all resting and waiting orders of a client in a partition.

    They are cancelled in pieces, so that others' commands come in between. Each piece is a command
    of its own: `continues` is the request id of the first one. Orders that came after the first
    piece stay.
    """

    request_id: str
    reply_to: str
    client_id: str
    instrument: str | None = None  # None: of all instruments
    side: str | None = None  # None: of both sides
    guard: str | None = None
    continues: str | None = None


class CancelAfterCommand(
    msgspec.Struct, tag_field="command", tag="cancel_after", array_like=True, frozen=True, kw_only=True
):
    """Set a client's dead man's switch in a partition, which replaces its earlier one.

    With 0 seconds there is no switch any more.
    """

    request_id: str
    reply_to: str
    client_id: str
    timeout_seconds: int
    guard: str | None = None


class GuardAction(StrEnum):
    """What a GuardCommand does."""

    ARM = "arm"  # guard the client's orders
    DISARM = "disarm"  # no longer guard them; the connection's commands still need its guard
    END = "end"  # cancel the orders of all clients that are guarded, and forget the guard


class GuardCommand(
    msgspec.Struct, tag_field="command", tag="guard", array_like=True, frozen=True, kw_only=True
):
    """Change the guard of a connection in a partition. `reply_to` is the connection's process.

    ARM and DISARM fail if the connection has no guard. Only with `may_create`, ARM makes one: when
    this partition has not confirmed yet that it keeps the connection's guard.
    """

    request_id: str
    reply_to: str
    connection_id: str
    action: GuardAction
    client_id: str = ""  # of ARM and DISARM
    may_create: bool = False


class AwaitKey(
    msgspec.Struct, tag_field="command", tag="await_key", array_like=True, frozen=True, kw_only=True
):
    """Reply once all earlier commands are done that could place the order with this client's key."""

    request_id: str
    reply_to: str
    client_id: str
    idempotency_key: str


class ListGuards(
    msgspec.Struct, tag_field="command", tag="list_guards", array_like=True, frozen=True, kw_only=True
):
    """Return the ids of the connections of the process `reply_to` that have a guard."""

    request_id: str
    reply_to: str


class ReloadInstruments(
    msgspec.Struct, tag_field="command", tag="reload", array_like=True, frozen=True, kw_only=True
):
    """Load the instruments from the database again, before the next command."""

    request_id: str
    reply_to: str


class InspectBooks(
    msgspec.Struct, tag_field="command", tag="inspect", array_like=True, frozen=True, kw_only=True
):
    """Return the sequence and state hash of every order book."""

    request_id: str
    reply_to: str


Command = (
    PlaceCommand
    | CancelCommand
    | AmendCommand
    | CancelAllCommand
    | CancelAfterCommand
    | GuardCommand
    | AwaitKey
    | ListGuards
    | ReloadInstruments
    | InspectBooks
)
# The commands that have a `guard`.
GuardedCommand = PlaceCommand | CancelCommand | AmendCommand | CancelAllCommand | CancelAfterCommand


class ReplyKind(StrEnum):
    PLACED = "placed"  # body: the order as in REST answers
    DUPLICATE = "duplicate"  # body: the id of the order that has the idempotency key
    # body: the order as in REST answers, or empty if it has fills from earlier batches
    CANCELLED = "cancelled"
    AMENDED = "amended"  # body: as of CANCELLED
    AMEND_REFUSED = "amend_refused"  # body: the reason, one of AmendRefusal
    NOT_OPEN = "not_open"  # body: NOT_OWNER, or empty
    CANCELLED_ALL = "cancelled_all"  # body: CancelledOrders as JSON
    DONE = "done"  # body: the requested information as JSON, or empty
    FAILED = "failed"  # body: an error message for the client; nothing was changed


NOT_OWNER = b"not_owner"  # the order is open, but belongs to another client than the command's


class AmendRefusal(StrEnum):
    """Why an amend was refused. Nothing was changed."""

    INSTRUMENT_HALTED = "instrument_halted"
    NOT_APPLICABLE = "not_applicable"
    QUANTITY_FILLED = "quantity_filled"
    WOULD_TRIGGER = "would_trigger"
    WOULD_CROSS = "would_cross"
    TOO_MANY_LEVELS = "too_many_levels"
    BELOW_MIN_NOTIONAL = "below_min_notional"  # 400 for the client, as of a new order


class CancelledOrders(msgspec.Struct, frozen=True):
    """The orders that a CancelAllCommand cancelled.

    `order_ids` has at most CANCELLED_IDS_MAX of them. If there `is_more`, another piece must follow.
    """

    count: int
    order_ids: list[str]
    is_more: bool


class Reply(msgspec.Struct, array_like=True, frozen=True):
    """The reply to one command, which is sent after its effects are committed."""

    request_id: str
    kind: ReplyKind
    body: bytes = b""


class BookState(msgspec.Struct, frozen=True):
    """The state of one order book in the reply to InspectBooks."""

    sequence: int
    state_hash: str


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
decode_command = msgspec.msgpack.Decoder(Command).decode
decode_replies = msgspec.msgpack.Decoder(list[Reply]).decode


def stream_key(partition: int) -> str:
    """Return the key of a partition's command stream.

    The braces keep all keys of a partition on one node of a Redis Cluster.
    """
    return f"exchange:{{{partition}}}:commands"


def dead_letters_key(partition: int) -> str:
    """Return the key of the stream of entries that were not valid commands."""
    return f"exchange:{{{partition}}}:dead-letters"


def heartbeat_key(partition: int) -> str:
    """Return the key that exists while a worker matches this partition."""
    return f"exchange:{{{partition}}}:heartbeat"


def life_key(partition: int, process_id: str) -> str:
    """Return the key whose value an API process with guards changes all the time: its sign of life."""
    return f"exchange:{{{partition}}}:life:{process_id}"


def rate_key(partition: int, client_id: str) -> str:
    """Return the key that counts a client's orders for the rate limit."""
    return f"exchange:{{{partition}}}:rate:{client_id}"


def cancel_rate_key(partition: int, client_bucket: int) -> str:
    """Return the key that counts the cancels of a bucket of clients (see orders/order_ids.py)."""
    return f"exchange:{{{partition}}}:cancel-rate:{client_bucket}"


def reply_channel(process_id: str) -> str:
    return f"exchange:replies:{process_id}"
