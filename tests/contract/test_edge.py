"""The edge: limits, deadlines and syntax for the bytes of a connection, tested with raw sockets."""

import base64
import os
import socket
import time

import pytest

from tests.contract.client import ANSWER_SECONDS_MAX, Client, order_body
from tests.contract.edge import connect, listen, send_and_listen
from tests.contract.stream import UPGRADE_REQUEST, frame
from tests.system.exchange import RunningExchange, wait_until

GET = b"GET /instruments HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"Connection: close\r\n"
SENT_SECONDS_MAX = 10.0  # the exchange's deadline for a head or a body


@pytest.fixture(autouse=True)
def _uvicorn_only(asgi_server: str) -> None:
    if asgi_server == "daphne":
        pytest.skip("Daphne's server, Twisted, has other bounds and answers")


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
    query = b"GET /instruments?limit=" + b"0" * 7_000 + b"1 HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"
    for sent in (GET + CLOSE + lines + b"\r\n", b"\r\n\r\n" + GET + CLOSE + b"\r\n", query):
        (answer,) = send_and_listen(exchange.port, sent).answers
        # The view, not the edge, answers 400 to a number with so many digits.
        assert answer.status in (200, 400), answer.text


def test_a_head_may_be_sent_byte_by_byte(exchange: RunningExchange) -> None:
    request = GET + CLOSE + b"\r\n"
    (answer,) = send_and_listen(exchange.port, *(request[at : at + 1] for at in range(len(request)))).answers
    assert answer.status == 200


MALFORMED = {
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: x\r\n\r\n",
    "two Hosts in 1.0": b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    "an invalid Host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a Host with a user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "Transfer-Encoding in 1.0": b"POST /orders HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both framings, other order": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "Content-Length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two Content-Lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a folded line": GET + b"n: a\r\n b\r\n\r\n",
    "space before the colon": GET + b"n : a\r\n\r\n",
    "space before the name": GET + b" n: a\r\n\r\n",
    "no colon": GET + b"n\r\n\r\n",
    "no name": GET + b": a\r\n\r\n",
    "NUL": GET + b"n: a\0b\r\n\r\n",
    "CR": GET + b"n: a\rb\r\n\r\n",
    "LF": GET + b"n: a\nb: c\n\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "RTSP": b"DESCRIBE / RTSP/1.0\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n" + b"x" * 100,
    "lower case": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a fragment": b"GET /instruments#top HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a chunk without its end": CHUNKED + b"2\r\n{}x\r\n0\r\n\r\n",
    "a chunk of no size": CHUNKED + b";\r\n{}\r\n0\r\n\r\n",
    "a chunk's sign": CHUNKED + b"+2\r\n{}\r\n0\r\n\r\n",
    "a chunk in LF": CHUNKED + b"2\n{}\n0\n\n",
    "an invalid trailer": CHUNKED + b"2\r\n{}\r\n0\r\nn\r\n\r\n",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_request_is_answered_once_and_the_connection_closed(
    exchange: RunningExchange, kind: str
) -> None:
    """A valid request that follows in the same packet is ignored."""
    received = send_and_listen(exchange.port, MALFORMED[kind], GET + b"\r\n", half_close=kind == "SSH")
    (answer,) = received.answers
    answer.error(400, "invalid_request")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"br, chunked", b"identity, chunked"])
def test_other_transfer_codings_are_refused(exchange: RunningExchange, coding: bytes) -> None:
    (answer,) = send_and_listen(
        exchange.port, POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"
    ).answers
    answer.error(501, "not_implemented")


@pytest.mark.parametrize("expectation", [b"200-ok", b"100-continue, x", b""])
def test_other_expectations_are_refused(exchange: RunningExchange, expectation: bytes) -> None:
    (answer,) = send_and_listen(
        exchange.port, POST + b"Expect: " + expectation + b"\r\nContent-Length: 2\r\n\r\n{}"
    ).answers
    answer.error(417, "expectation_failed")


def test_100_continue_is_sent_if_the_body_is_wanted(exchange: RunningExchange) -> None:
    with connect(exchange.port) as connection:
        connection.sendall(POST + CLOSE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        (answer,) = listen(connection).answers
        answer.error(400, "invalid_request")


def test_100_continue_is_not_sent_for_a_body_that_is_refused(exchange: RunningExchange) -> None:
    received = send_and_listen(
        exchange.port, POST + b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
    )
    (answer,) = received.answers
    answer.error(413, "payload_too_large")


def test_an_http_1_0_answer_has_no_chunks_and_closes_the_connection(exchange: RunningExchange) -> None:
    for path in (b"/instruments", b"/docs", b"/static/admin/css/base.css"):
        received = send_and_listen(exchange.port, b"GET " + path + b" HTTP/1.0\r\nHost: localhost\r\n\r\n")
        (answer,) = received.answers
        assert answer.status == 200
        assert "Transfer-Encoding" not in answer.headers
        assert received.closed


def test_an_offer_of_another_protocol_is_ignored(exchange: RunningExchange) -> None:
    """Java's client offers HTTP/2 with every request, also with one that has a body."""
    offer = b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n"
    (answer,) = send_and_listen(exchange.port, POST + offer + b"Content-Length: 2\r\n\r\n{}").answers
    assert answer.error(400, "invalid_request")["fields"]


def test_a_request_may_name_its_target_in_full(exchange: RunningExchange) -> None:
    request = b"GET http://x:80/trades?limit=1 HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n"
    (answer,) = send_and_listen(exchange.port, request).answers
    assert answer.json.keys() == {"trades", "next_cursor"}


@pytest.mark.parametrize("requests", [1, 2, 30])
def test_a_client_that_sends_no_more_gets_its_answers(exchange: RunningExchange, requests: int) -> None:
    received = send_and_listen(exchange.port, (GET + b"\r\n") * requests, half_close=True)
    assert [answer.status for answer in received.answers] == [200] * requests
    assert received.closed


def test_an_order_of_a_client_that_sends_no_more_is_answered(
    exchange: RunningExchange, client: Client, instrument: str
) -> None:
    import json

    body = json.dumps(order_body(instrument, "buy", 1, 10)).encode()
    request = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    received = send_and_listen(exchange.port, request, request, half_close=True)
    assert [answer.status for answer in received.answers] == [201, 201]
    assert client.book(instrument)["sequence"] == 2


@pytest.mark.parametrize(
    "part", [b"GET /instr", GET, POST + b"Content-Length: 9\r\n\r\n{", CHUNKED + b"5\r\n{"]
)
def test_half_a_request_is_refused_when_the_client_sends_no_more(
    exchange: RunningExchange, part: bytes
) -> None:
    received = send_and_listen(exchange.port, part, half_close=True)
    assert [answer.status for answer in received.answers] == [400]
    assert received.closed


def test_pipelined_requests_are_answered_in_order(exchange: RunningExchange) -> None:
    paths = [b"/instruments", b"/nothing", b"/trades", b"/orderbook?instrument=NO", b"/candles"] * 20
    requests = [b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths]
    received = send_and_listen(exchange.port, b"".join(requests) + b"BAD\r\n\r\n" + requests[0])
    assert [answer.status for answer in received.answers] == [200, 404, 200, 404, 200] * 20 + [400]


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


BAD_ORIGINS = [
    b"http://[",
    b"http://[::1",
    b"\xff\xfe",
    b"",
    b"null",
    b"http://x:99999999",
    b"//",
    b"http://evil.example",
]


@pytest.mark.parametrize("origin", BAD_ORIGINS)
def test_invalid_and_foreign_origins_are_refused(exchange: RunningExchange, origin: bytes) -> None:
    (answer,) = send_and_listen(
        exchange.port, UPGRADE_REQUEST[:-2] + b"Origin: " + origin + b"\r\n\r\n"
    ).answers
    answer.error(403, "forbidden")
    (answer,) = send_and_listen(
        exchange.port, POST + CLOSE + b"Origin: " + origin + b"\r\nContent-Length: 2\r\n\r\n{}"
    ).answers
    answer.error(403, "forbidden")


@pytest.mark.parametrize(
    "change",
    [
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 12"),
        (b"Sec-WebSocket-Version: 13\r\n", b""),
        (b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: x"),
    ],
)
def test_invalid_handshakes_are_refused_in_the_common_error_format(
    exchange: RunningExchange, change: tuple[bytes, bytes]
) -> None:
    request = UPGRADE_REQUEST.replace(*change)
    assert request != UPGRADE_REQUEST
    (answer,) = send_and_listen(exchange.port, request).answers
    answer.error(426, "upgrade_required")


def client_frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return a client's frame, with a mask of zeros, which does not change the payload."""
    return bytes([opcode | (0x80 if final else 0), 0x80 | len(payload)]) + bytes(4) + payload


PING, PONG, TEXT, CONTINUATION = 9, 10, 1, 0
FLOODS = {
    "pings": client_frame(PING, b"x") * 60,
    "pongs": client_frame(PONG) * 60,
    "pieces": client_frame(TEXT, b"{", final=False) + client_frame(CONTINUATION, b" ", final=False) * 60,
    "messages and pings": (frame({"type": "ping", "id": 1}) + client_frame(PING)) * 30,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_all_kinds_of_frames_count_as_messages(exchange: RunningExchange, kind: str) -> None:
    with open_stream(exchange) as connection:
        connection.sendall(FLOODS[kind])
        data = b""
        while chunk := connection.recv(65_536):
            data += chunk
        assert b"\x88\x02" + (1008).to_bytes(2, "big") in data


def test_pings_of_a_client_that_does_not_read_use_bounded_memory(
    exchange: RunningExchange, client: Client
) -> None:
    memory = exchange.part("uvicorn_server").memory_info().rss
    with open_stream(exchange) as connection:
        connection.settimeout(1.0)
        sent = 0
        try:
            while sent < 150_000_000:
                sent += connection.send(client_frame(PING, b"x" * 100) * 1_000)
        except OSError:
            pass  # the exchange has closed the connection, or does not read
        assert sent < 150_000_000  # the exchange has stopped reading
        assert client.get("/instruments").status == 200
    assert exchange.part("uvicorn_server").memory_info().rss - memory < 64_000_000


def open_stream(exchange: RunningExchange) -> socket.socket:
    connection = connect(exchange.port)
    key = base64.b64encode(os.urandom(16))
    connection.sendall(UPGRADE_REQUEST.replace(b"dGhlIHNhbXBsZSBub25jZQ==", key))
    assert b" 101 " in connection.recv(1_000)
    return connection


def test_wrong_requests_do_not_fill_the_log(exchange: RunningExchange) -> None:
    """Each line has the log's format, and the number of lines of each kind is limited."""
    before = len(exchange.log())
    wrong = [
        b"\x16\x03\x01",
        b"GET /admin/ HTTP/1.1\r\nHost: evil\\n.example\r\n\r\n",
        b"GET /admin/ HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE + b"\r\n",
        UPGRADE_REQUEST[:-2] + b"Origin: http://[\r\n\r\n",
        POST + b"Content-Length: x\r\n\r\n",
    ]
    for request in wrong * 30:
        send_and_listen(exchange.port, request)
    lines = exchange.log()[before:].splitlines()
    assert all(line[:4].isdigit() and " WARNING " in line for line in lines), lines
    assert len(lines) < 60
    assert not any(len(line) > 1_500 for line in lines)


def test_the_error_for_a_foreign_host_names_the_variable_that_allows_it(client: Client) -> None:
    answer = client.send("GET", "/admin/", headers={"Host": "evil.example"})
    assert "EXCHANGE_ALLOWED_HOSTS" in answer.error(400, "invalid_request")["message"]
