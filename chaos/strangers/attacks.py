"""The list of attacks: what each one does, what it needs beforehand, and the limits that stop it."""

import functools
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from chaos.strangers import http_attacks, order_attacks, stream_attacks
from chaos.strangers.stage import Stage

Strike = Callable[[Stage], Awaitable[None]]

FILLED_ORDER = "an order with many fills"
DEEP_LEVEL = "many resting orders at one price"
LARGE_BOOK = "a book of many levels"


class Attack(NamedTuple):
    """`needs` is one of the preparations of prepare.py; `calm_after_seconds`: when the first bound counts."""

    name: str
    strike: Strike
    limits: str  # the settings that stop it
    needs: str = ""
    calm_after_seconds: float = 0.0


def _endless(kind: str) -> Strike:
    return functools.partial(http_attacks.endless_input, kind=kind)


_HEAD = "REQUEST_HEAD_BYTES_MAX, REQUEST_HEADERS_MAX"
_ASKED = "READS_AT_ONCE_MAX, one shared answer"

ATTACKS = (
    Attack("many header lines", _endless("many header lines"), _HEAD),
    Attack("an endless header value", _endless("an endless header value"), _HEAD),
    Attack("an endless header name", _endless("an endless header name"), _HEAD),
    Attack("an endless URL", _endless("an endless URL"), "REQUEST_URL_BYTES_MAX"),
    Attack("an endless query", _endless("an endless query"), "REQUEST_URL_BYTES_MAX"),
    Attack("endless trailers", _endless("endless trailers"), "REQUEST_FRAMING_BYTES_MAX"),
    Attack("an endless chunk extension", _endless("an endless chunk extension"), "REQUEST_FRAMING_BYTES_MAX"),
    Attack("silent connections", http_attacks.silent_connections, "CONNECTIONS_PER_ADDRESS_MAX"),
    Attack("slow requests", http_attacks.slow_requests, "REQUEST_HEAD_SECONDS_MAX, REQUEST_BODY_SECONDS_MAX"),
    Attack("questions about health", functools.partial(http_attacks.ask_for, path="/healthz"), _ASKED),
    Attack("questions about metrics", functools.partial(http_attacks.ask_for, path="/metrics"), _ASKED),
    Attack(
        "questions about the schema", functools.partial(http_attacks.ask_for, path="/docs/schema"), _ASKED
    ),
    Attack("malformed requests", http_attacks.malformed_requests, "LOG_LINES_PER_SECOND_MAX"),
    Attack("the login page", http_attacks.login_pages, "PAGES_AT_ONCE_MAX"),
    Attack("guesses of the password", http_attacks.password_guesses, "AXES_FAILURE_LIMIT"),
    Attack("cancels of unknown orders", order_attacks.cancels_of_unknown_orders, "LOOK_UPS_AT_ONCE_MAX"),
    Attack("orders at many prices", order_attacks.orders_at_many_prices, "an instrument's open_orders_max"),
    Attack("sweeps of a deep level", order_attacks.sweeps, "ORDER_TRADES_MAX", DEEP_LEVEL, 1.0),
    Attack(
        "retries beyond the limits",
        order_attacks.retries_beyond_limits,
        "LOOK_UPS_AT_ONCE_MAX",
        FILLED_ORDER,
    ),
    Attack(
        "retries of an order with many fills",
        order_attacks.retries_of_a_filled_order,
        "LOOK_UPS_AT_ONCE_MAX",
        FILLED_ORDER,
    ),
    Attack(
        "followers that do not read",
        stream_attacks.followers_that_do_not_read,
        "STREAM_UNREAD_BYTES_MAX",
        LARGE_BOOK,
    ),
    Attack("pings without reading", stream_attacks.pings_without_reading, "STREAM_MESSAGES_PER_SECOND_MAX"),
    Attack(
        "subscriptions again and again",
        stream_attacks.subscriptions_again_and_again,
        "STREAM_SNAPSHOTS_PER_SECOND_MAX",
        LARGE_BOOK,
    ),
)
