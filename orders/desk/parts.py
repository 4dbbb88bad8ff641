"""What the parts of the desk share."""

import msgspec
from django.conf import settings

from base.refusals import Allowance, OutcomeUnknown, Refusal
from instruments.directory import InstrumentDirectory
from orders.documents import OrderDocument, stored_state
from orders.gateway import OrderGateway
from orders.look_ups import DeskReads
from orders.models import Order
from orders.refusals import OrderNotFound

# A cancel or an amend may need several replies and look-ups. Together they may take as long as one
# reply and one look-up, like an order.
CANCEL_SECONDS_MAX = settings.ORDER_REPLY_TIMEOUT_SECONDS + settings.DESK_READ_SECONDS_MAX


class OrderResult(msgspec.Struct, frozen=True):
    """An order as JSON. `replayed` is set if an earlier request with the same key placed it."""

    body: bytes
    replayed: bool
    allowance: Allowance | None


class DeskPart:
    """A part of the desk, with what all parts need."""

    def __init__(self, gateway: OrderGateway, reads: DeskReads, instruments: InstrumentDirectory) -> None:
        self._gateway = gateway
        self._reads = reads
        self._instruments = instruments


def no_such_order(allowance: Allowance | None = None) -> OrderNotFound:
    return OrderNotFound(allowance=allowance)


def cancel_unknown(allowance: Allowance | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        "No result arrived in time. The order may have been cancelled. You can safely send the cancel again.",
        allowance=allowance,
    )


def amend_unknown(allowance: Allowance | None) -> OutcomeUnknown:
    return OutcomeUnknown(
        "No result arrived in time. The order may have been amended. You can safely send the amend again.",
        allowance=allowance,
    )


def unfilled_document(row: Order) -> OrderDocument | None:
    """Return an order without fills as a document, or None if it has fills."""
    if row.filled_quantity:
        return None
    return OrderDocument(**stored_state(row, row.instrument.symbol), trades=[])


def least_certain(refusals: list[Refusal]) -> Refusal:
    """Return the refusal of several that leaves most open: an unknown outcome rather than a limit."""
    return max(refusals, key=lambda refusal: refusal.kind.value)
