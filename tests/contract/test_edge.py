"""The edge: limits and deadlines of requests and connections, tested with raw sockets."""

import time

import pytest
from django.conf import settings

from tests.contract.client import ANSWER_SECONDS_MAX, Client
from tests.contract.conftest import ON_UVICORN
from tests.contract.edge import CHUNKED, CLOSE, GET, POST, connect, listen, send_and_listen
from tests.contract.stream import UPGRADE_REQUEST
from tests.system.exchange import RunningExchange, wait_until

pytestmark = ON_UVICORN  # Daphne's server, Twisted, has other bounds and answers

SENT_SECONDS_MAX = 10.0  # the exchange's deadline for a head or a body

TOO_LONG = {
    "lines": (GET + b"a:b\r\n" * 500_000 + b"\r\n", 431, "request_header_fields_too_large"),
    "101 lines": (GET + b"a:b\r\n" * 100 + b"\r\n", 431, "request_header_fields_too_large"),
    "endless lines": (GET + b"a:b\r\n" * 50_000, 431, "request_header_fields_too_large"),
    "name": (GET + b"n" * 1_000_000, 431, "request_header_fields_too_large"),
    "value": (GET + b"n: " + b"v" * 1_000_000, 431, "request_header_fields_too_large"),
    "one line of 33 KiB": (
        GET + b"n: " + b"v" * 33_000 + b"\r\n\r\n",
        431,
        "request_header_fields_too_large",
    ),
    "empty lines": (b"\r\n" * 50_000, 431, "request_header_fields_too_large"),
    "path": (b"GET /" + b"p" * 1_000_000, 414, "uri_too_long"),
    "query": (b"GET /trades?a=" + b"q" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
    "absolute": (b"GET http://x/" + b"p" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long"),
    "method": (b"G" * 1_000_000, 400, "invalid_request"),
    "trailers": (CHUNKED + b"0\r\n" + b"a:b\r\n" * 100_000, 431, "request_header_fields_too_large"),
    "extension": (CHUNKED + b"1;" + b"e" * 1_000_000, 431, "request_header_fields_too_large"),
    "extensions": (CHUNKED + b"1;eeeeeeee\r\n \r\n" * 20_000, 431, "request_header_fields_too_large"),
    "tiny chunks": (CHUNKED + b"1\r\n \r\n" * 20_000, 431, "request_header_fields_too_large"),
    "a handshake's header": (
        UPGRADE_REQUEST[:-2] + b"n: " + b"v" * 9_000 + b"\r\n\r\n",
        431,
        "request_header_fields_too_large",
    ),
}


@pytest.mark.parametrize("kind", TOO_LONG)
def test_input_that_is_too_long_is_refused_before_its_end(exchange: RunningExchange, kind: str) -> None:
    sent, status, code = TOO_LONG[kind]
    received = send_and_listen(exchange.port, sent)
    (answer,) = received.answers
    answer.error(status, code)
    assert received.closed


def test_requests_within_the_limits_are_accepted(exchange: RunningExchange) -> None:
    lines = b"".join(b"n%d: %s\r\n" % (number, b"v" * 200) for number in range(98))
    for sent in (GET + CLOSE + lines + b"\r\n", b"\r\n\r\n" + GET + CLOSE + b"\r\n"):
        (answer,) = send_and_listen(exchange.port, sent).answers
        assert answer.status == 200, answer.text


def test_a_query_within_the_limits_reaches_its_view(exchange: RunningExchange) -> None:
    """The view, not the edge, refuses a number with so many digits."""
    query = b"GET /trades?limit=" + b"0" * 7_000 + b"1 HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"
    (answer,) = send_and_listen(exchange.port, query).answers
    assert answer.refused_fields() == {"limit"}


def test_a_head_may_be_sent_byte_by_byte(exchange: RunningExchange) -> None:
    request = GET + CLOSE + b"\r\n"
    (answer,) = send_and_listen(exchange.port, *(request[at : at + 1] for at in range(len(request)))).answers
    assert answer.status == 200


UNFINISHED = {
    "nothing": b"",
    "half a head": b"GET /instr",
    "half a handshake": UPGRADE_REQUEST[:-2],
    "half a body": POST + b"Content-Length: 9\r\n\r\n{",
    "half a chunk": CHUNKED + b"5\r\n{",
    "half a form": b"POST /admin/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na",
}


def test_an_unfinished_request_has_a_deadline(exchange: RunningExchange, client: Client) -> None:
    """All kinds are tested at once. Slow bytes do not extend the deadline."""
    connections = {kind: connect(exchange.port) for kind in UNFINISHED}
    slow = connect(exchange.port)
    slow.sendall(GET)
    began = time.monotonic()
    for kind, connection in connections.items():
        connection.sendall(UNFINISHED[kind])
    slow.settimeout(0.5)
    answer = b""
    while not answer:
        slow.sendall(b"a:b\r\n")
        try:
            answer = slow.recv(1_000)
        except TimeoutError:
            assert time.monotonic() - began < ANSWER_SECONDS_MAX
    assert answer.startswith(b"HTTP/1.1 408 ")
    for kind, connection in connections.items():
        received = listen(connection)
        assert received.closed
        if kind == "nothing":
            assert received.answers == []
        else:
            received.answers[0].error(408, "request_timeout")
        connection.close()
    slow.close()
    assert time.monotonic() - began >= SENT_SECONDS_MAX
    assert client.get("/healthz").status == 200


def test_a_kept_connection_outlives_one_that_never_sent_a_request(exchange: RunningExchange) -> None:
    """An idle connection has a longer deadline between two requests than before the first."""
    with connect(exchange.port) as kept, connect(exchange.port) as silent:
        kept.sendall(GET + b"\r\n")
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert listen(silent).closed  # after SENT_SECONDS_MAX
        kept.sendall(GET + b"\r\n")
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_silent_connections_of_one_address_keep_no_client_out(
    exchange: RunningExchange, client: Client
) -> None:
    silent = [connect(exchange.port) for _ in range(2_500)]
    try:
        with connect(exchange.port) as another:
            another.sendall(GET + CLOSE + b"\r\n")
            assert listen(another).answers[0].status == 200
        assert client.get("/healthz").status == 200
        wait_until(lambda: "too many connections" in exchange.log(), "the bound is logged")
        first, *_, last = silent
        last.sendall(GET + CLOSE + b"\r\n")
        assert listen(last).answers[0].status == 200  # the oldest connections were closed for it
        assert listen(first) == ([], True)
    finally:
        for connection in silent:
            connection.close()


def test_wrong_requests_do_not_fill_the_log(exchange: RunningExchange) -> None:
    """Each line has the log's format, and the number of lines of each kind is limited."""
    before, began = len(exchange.log()), time.monotonic()
    wrong = [
        b"\x16\x03\x01",
        b"GET /admin/ HTTP/1.1\r\nHost: evil\\n.example\r\n\r\n",
        b"GET /admin/ HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE + b"\r\n",
        UPGRADE_REQUEST[:-2] + b"Origin: http://[\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
    ]
    for request in wrong * 30:
        send_and_listen(exchange.port, request)
    spans = 1 + (time.monotonic() - began) / settings.LOG_PACE_SECONDS  # each has its lines
    lines = exchange.log()[before:].splitlines()
    assert all(line[:4].isdigit() and " WARNING " in line for line in lines), lines
    assert len(lines) < 60 * spans
    assert not any(len(line) > 1_500 for line in lines)


def test_the_error_for_a_foreign_host_names_the_variable_that_allows_it(client: Client) -> None:
    answer = client.send("GET", "/admin/", headers={"Host": "evil.example"})
    assert "EXCHANGE_ALLOWED_HOSTS" in answer.error(400, "invalid_request")["message"]
