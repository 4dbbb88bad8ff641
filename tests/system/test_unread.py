"""The common bounds of all stream clients, on subscriptions and unread bytes, set low for tests."""

import json
from collections.abc import Iterator

import pytest

from tests.contract.client import Client
from tests.contract.stream import Stream, make_trade, metric, slow_consumers
from tests.contract.test_stream_limits import LONG_PING, LONG_PINGS_A_SECOND, narrow_socket
from tests.system.exchange import RunningExchange, wait_until
from tests.system.tight_settings import STREAM_SUBSCRIPTIONS_OF_ALL_MAX, STREAM_UNREAD_BYTES_MAX

# Each client leaves 2.7 MB unread, within its own bound. All together exceed the common bound.
CLIENTS = 8
INSTRUMENT = "BTC-USD"


@pytest.fixture
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange(variables={"DJANGO_SETTINGS_MODULE": "tests.system.tight_settings"}) as running:
        yield running


def test_beyond_the_common_bound_the_clients_silent_longest_are_told_and_closed(
    exchange: RunningExchange,
) -> None:
    with Client(exchange.url) as client, Stream(exchange.ws_url) as reader:
        reader.subscribe("trades", instrument=INSTRUMENT)
        silent = [
            Stream(exchange.ws_url, sock=narrow_socket(exchange), max_queue=1, ping_interval=None)
            for _ in range(CLIENTS)
        ]
        for number, stream in enumerate(silent):
            for _ in range(LONG_PINGS_A_SECOND):
                stream.send(LONG_PING)
            make_trade(client, INSTRUMENT)
            reader.expect("trade")
            assert metric(client, "exchange_websocket_unread_bytes") <= 1.5 * STREAM_UNREAD_BYTES_MAX
            if number == 0:
                assert slow_consumers(client) == 0  # one client alone is within both bounds
        wait_until(lambda: slow_consumers(client) > 0, "the first clients are closed")
        assert slow_consumers(client) < CLIENTS  # clients within half of the bound stay
        assert silent[0].close_code() == 1013
        assert json.loads(silent[0].text)["code"] == "slow_consumer"
        make_trade(client, INSTRUMENT)
        reader.expect("trade")
        for stream in silent[1:]:
            stream._connection.socket.close()
        wait_until(
            lambda: metric(client, "exchange_websocket_unread_bytes") < 2**20, "the bytes are released"
        )


@pytest.mark.long
def test_beyond_the_common_bound_of_subscriptions_each_client_has_an_equal_share(
    exchange: RunningExchange,
) -> None:
    def follow(stream: Stream, count: int) -> None:
        for number in range(count):
            stream.subscribe("orders", instrument=INSTRUMENT, client_id=f"client-{number}")
            stream.expect("orders_snapshot")
        stream.subscribe("orders", instrument=INSTRUMENT, client_id="one-too-many")
        refusal = stream.receive()
        assert (refusal["type"], refusal["code"]) == ("error", "unavailable")

    with Stream(exchange.ws_url) as first:
        follow(first, STREAM_SUBSCRIPTIONS_OF_ALL_MAX)
        with Stream(exchange.ws_url) as second:
            follow(second, STREAM_SUBSCRIPTIONS_OF_ALL_MAX // 2)
            first.send({"type": "unsubscribe", "channels": ["orders"], "client_id": "client-0"})
            first.expect("unsubscribed")
    with Stream(exchange.ws_url) as third:  # clients that left have released their subscriptions
        follow(third, STREAM_SUBSCRIPTIONS_OF_ALL_MAX)
