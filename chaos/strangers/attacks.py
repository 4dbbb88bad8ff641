"""The list of attacks. Each has its function, its preparation, and the limits that stop it."""

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
    """One kind of attack."""

    name: str
    strike: Strike
    limits: str  # The settings that stop it.
    signs: tuple[str, ...]  # Statuses or other counts. At least one shows that the attack has run.
    needs: str = ""  # Its preparation in prepare.py.
    # Orders that are due in this first part of the attack do not count.
    excused_seconds: float = 0.0


def _endless(kind: str) -> Strike:
    return functools.partial(http_attacks.endless_input, kind=kind)


def _questions(about: str, path: str, limits: str) -> Attack:
    strike = functools.partial(http_attacks.ask_for, path=path)
    return Attack(f"questions about {about}", strike, limits, ("200",))


_HEAD = "REQUEST_HEAD_BYTES_MAX, REQUEST_HEADERS_MAX"

ATTACKS = (
    Attack("many header lines", _endless("many header lines"), _HEAD, ("431",)),
    Attack("an endless header value", _endless("an endless header value"), _HEAD, ("431",)),
    Attack("an endless header name", _endless("an endless header name"), _HEAD, ("431",)),
    Attack("an endless URL", _endless("an endless URL"), "REQUEST_URL_BYTES_MAX", ("414",)),
    Attack("an endless query", _endless("an endless query"), "REQUEST_URL_BYTES_MAX", ("414",)),
    Attack("endless trailers", _endless("endless trailers"), "REQUEST_HEADERS_MAX", ("400", "431")),
    Attack(
        "an endless chunk extension",
        _endless("an endless chunk extension"),
        "REQUEST_CHUNK_OVERHEAD_BYTES_MAX",
        ("400", "431"),
    ),
    Attack(
        "silent connections",
        http_attacks.silent_connections,
        "API_CONNECTIONS_PER_ADDRESS_MAX",
        ("connections",),
    ),
    Attack(
        "slow requests",
        http_attacks.slow_requests,
        "REQUEST_HEAD_SECONDS_MAX, REQUEST_BODY_SECONDS_MAX",
        ("connections",),
    ),
    _questions("health", "/healthz", "SHARED_ANSWERS_AT_ONCE, HEALTH_SHARED_SECONDS"),
    _questions("metrics", "/metrics", "SHARED_ANSWERS_AT_ONCE, SHARED_PAUSE_RATIO"),
    _questions("all tickers", "/tickers", "SHARED_ANSWERS_AT_ONCE, SHARED_PAUSE_RATIO"),
    Attack(
        "clients that leave at once",
        functools.partial(http_attacks.leaving_clients, path="/tickers"),
        "SHARED_ANSWERS_AT_ONCE",
        ("requests",),
    ),
    _questions("the schema", "/docs/schema", "DOCUMENTS_AT_ONCE"),
    Attack("malformed requests", http_attacks.malformed_requests, "LOG_LINES_MAX", ("400",)),
    Attack("the login page", http_attacks.login_pages, "STRANGERS_AT_ONCE", ("200", "503")),
    Attack(
        "guesses of the password",
        http_attacks.password_guesses,
        "LOGINS_WAITING_PER_ADDRESS_MAX, LOGIN_FAILURES_MAX",
        ("requests",),
    ),
    Attack(
        "cancels of unknown orders",
        order_attacks.cancels_of_unknown_orders,
        "LOOK_UPS_WAITING_MAX, LOOK_UP_PAUSE_SECONDS",
        ("404", "429", "503"),
    ),
    Attack(
        "orders at many prices",
        order_attacks.orders_at_many_prices,
        "an instrument's open_orders_max",
        ("201",),
    ),
    Attack(
        "a sweep of a deep level",
        order_attacks.one_sweep,
        "ORDER_TRADES_MAX",
        ("201",),
        DEEP_LEVEL,
        excused_seconds=1.0,
    ),
    # The sweeps are matched one after the other. The partition's other instruments wait for them.
    Attack(
        "sweeps that wait for each other",
        order_attacks.sweeps,
        "ORDER_TRADES_MAX",
        ("201",),
        DEEP_LEVEL,
        excused_seconds=3.0,
    ),
    Attack(
        "retries beyond the limits",
        order_attacks.retries_beyond_limits,
        "LOOK_UPS_WAITING_MAX, LOOK_UP_PAUSE_SECONDS",
        ("422",),
        FILLED_ORDER,
    ),
    Attack(
        "retries of an order with many fills",
        order_attacks.retries_of_a_filled_order,
        "DESK_REPLAYS_MAX, DESK_REPLAY_PAUSE_RATIO",
        ("200",),
        FILLED_ORDER,
    ),
    Attack(
        "followers that do not read",
        stream_attacks.followers_that_do_not_read,
        "STREAM_UNREAD_BYTES_MAX",
        ("connections",),
        LARGE_BOOK,
    ),
    Attack(
        "pings without reading",
        stream_attacks.pings_without_reading,
        "STREAM_MESSAGES_PER_SECOND_MAX",
        ("bytes",),
    ),
    Attack(
        "subscriptions again and again",
        stream_attacks.subscriptions_again_and_again,
        "STREAM_SNAPSHOT_SECONDS",
        ("subscriptions",),
        LARGE_BOOK,
    ),
)
