"""The order desk: sends validated requests to the gateway, and turns the replies into answers.

The database is the authority on the state of orders. If no reply arrives, or if an idempotency key
was used before, the answer is read from the database. A look-up that will probably end in a refusal
is done last, at a bounded pace, and counts against the client's rate limit, so that such look-ups
do not slow down other clients.

REST and the stream use the same desk, so both have the same refusals and the same idempotency.
placing.py places orders, cancelling.py and amending.py change orders that a client names, mass.py
cancels everything of a client, and desk.py joins them and adds operators' commands.
"""

from orders.desk.desk import OrderDesk, current_desk
from orders.desk.mass import MassCancelResult
from orders.desk.parts import CANCEL_SECONDS_MAX, OrderResult, least_allowance, no_such_order

__all__ = [
    "CANCEL_SECONDS_MAX",
    "MassCancelResult",
    "OrderDesk",
    "OrderResult",
    "current_desk",
    "least_allowance",
    "no_such_order",
]
