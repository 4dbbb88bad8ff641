"""The checks find every kind of breach, and none in a correct run, on a real database."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from chaos.breaches import Breaches, Kind
from chaos.checks import check_journal
from chaos.journal import Cancelled, Entry, Journal, NotOpen, NotTaken, Placed, Printed
from chaos.traffic import ONCE_PREFIX
from hosting.embedded.locations import Locations
from tests.patience import PATIENCE_SECONDS
from tests.system.exchange import RunningExchange

Acknowledged = dict[str, Any]  # an order as the exchange acknowledged it


class Market:
    """Places orders on the exchange, and checks journals about them against its database."""

    def __init__(self, exchange: RunningExchange, folder: Path) -> None:
        self._exchange = exchange
        self._folder = folder
        self._http = httpx.Client(base_url=exchange.url, timeout=PATIENCE_SECONDS)

    def place(self, side: str, quantity: int, client_id: str | None = None, price: int = 3) -> Acknowledged:
        body = {
            "client_id": client_id or f"check-{uuid4()}",
            "idempotency_key": "only",
            "instrument": "SOL-USD",
            "side": side,
            "type": "limit",
            "price": price,
            "quantity": quantity,
        }
        if client_id is not None:
            del body["idempotency_key"]
        return self._acknowledged(self._http.post("/orders", json=body))

    def cancel(self, order: Acknowledged) -> Acknowledged:
        return self._acknowledged(self._http.post(f"/orders/{order['order_id']}/cancel"))

    def amend(self, order: Acknowledged, **changes: int) -> Acknowledged:
        return self._acknowledged(self._http.post(f"/orders/{order['order_id']}/amend", json=changes))

    def breaches(self, *entries: Entry) -> dict[Kind, int]:
        found = Breaches()
        with Journal(self._folder / "journal.jsonl") as journal:
            for entry in entries:
                journal.write(entry)
            check_journal(journal, Locations(self._exchange.data_dir).postgres_uri, found)
        assert sum(found.counts.values()) == len(found.listed)
        return dict(found.counts)

    def _acknowledged(self, answer: httpx.Response) -> Acknowledged:
        assert answer.status_code in (200, 201), answer.text
        order: Acknowledged = answer.json(parse_float=Decimal)
        return order

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def exchange() -> Iterator[RunningExchange]:
    with RunningExchange() as running:
        yield running


@pytest.fixture
def market(exchange: RunningExchange, tmp_path: Path) -> Iterator[Market]:
    opened = Market(exchange, tmp_path)
    yield opened
    opened.close()


def placed(order: Acknowledged, **changes: Any) -> Placed:
    return Placed(0.0, msgspec.Raw(msgspec.json.encode(order | changes)))


def test_a_true_journal_has_no_breach(market: Market) -> None:
    maker, taker = market.place("sell", 5), market.place("buy", 2)
    cancelled = market.cancel(maker)
    (fill,) = taker["trades"]
    entries: list[Entry] = [
        *(placed(order) for order in (maker, taker, taker, cancelled)),
        Cancelled(0.0, UUID(maker["order_id"])),
        NotOpen(0.0, UUID(taker["order_id"])),
        NotTaken(0.0, "nobody of this name"),
        Printed(UUID(fill["trade_id"]), fill["price"], fill["quantity"]),
    ]
    assert market.breaches(*entries) == {}


def test_an_amended_order_may_have_another_quantity_but_no_other_instruction(market: Market) -> None:
    order = market.place("sell", 5, price=9)
    market.amend(order, quantity=4)
    assert market.breaches(placed(order)) == {}
    assert market.breaches(placed(order, post_only=True)) == {Kind.CHANGED: 1}


def with_fill(order: Acknowledged, **changes: Any) -> Placed:
    (fill,) = order["trades"]
    return placed(order, trades=[fill | changes])


@pytest.mark.parametrize(
    ("lie", "kind"),
    [
        (lambda taker: placed(taker, order_id=str(uuid4())), Kind.LOST),
        (lambda taker: placed(taker, trades=[], filled_quantity=3, status="open"), Kind.LOST),
        (lambda taker: placed(taker, trades=[]), Kind.CHANGED),
        (lambda taker: with_fill(taker, trade_id=str(uuid4())), Kind.LOST),
        (lambda taker: with_fill(taker, price=4), Kind.CHANGED),
        (lambda taker: with_fill(taker, liquidity="maker"), Kind.CHANGED),
        (lambda taker: placed(taker, side="sell"), Kind.CHANGED),
        (lambda taker: placed(taker, price=4), Kind.CHANGED),
        (lambda taker: placed(taker, quantity=3), Kind.CHANGED),
        (lambda taker: placed(taker, client_id="another"), Kind.CHANGED),
        (lambda taker: placed(taker, idempotency_key=None), Kind.CHANGED),
        (lambda taker: placed(taker, time_in_force="gtd"), Kind.CHANGED),
        (lambda taker: placed(taker, post_only=True), Kind.CHANGED),
        (lambda taker: placed(taker, self_trade_prevention="decrement"), Kind.CHANGED),
        (lambda taker: placed(taker, status="cancelled"), Kind.CHANGED),
        (lambda taker: Cancelled(0.0, UUID(taker["order_id"])), Kind.LOST),
        (lambda taker: Cancelled(0.0, uuid4()), Kind.LOST),
        (lambda taker: NotOpen(0.0, uuid4()), Kind.ANSWER),
        (lambda taker: NotTaken(0.0, taker["client_id"]), Kind.REFUSED),
        (lambda taker: Printed(uuid4(), Decimal(1), Decimal(1)), Kind.LOST),
        (lambda taker: Printed(UUID(taker["trades"][0]["trade_id"]), Decimal(3), Decimal(1)), Kind.CHANGED),
    ],
)
def test_a_journal_entry_that_the_database_contradicts_is_a_breach(
    market: Market, lie: Callable[[Acknowledged], Entry], kind: Kind
) -> None:
    market.place("sell", 2)
    taker = market.place("buy", 2)
    assert market.breaches(placed(taker)) == {}
    assert kind in market.breaches(lie(taker))


def test_an_open_order_that_was_reported_as_ended_is_a_breach(market: Market) -> None:
    resting = market.place("buy", 1, price=1)
    assert market.breaches(NotOpen(0.0, UUID(resting["order_id"]))) == {Kind.ANSWER: 1}
    assert market.breaches(Cancelled(0.0, UUID(resting["order_id"]))) == {Kind.LOST: 1}


def test_an_order_that_was_sent_once_and_stored_twice_is_a_breach(market: Market) -> None:
    client_id = f"{ONCE_PREFIX}{uuid4()}"
    first = market.place("buy", 1, client_id, price=1)
    assert market.breaches(placed(first)) == {}
    second = market.place("buy", 1, client_id, price=1)
    assert market.breaches(placed(first)) == {Kind.DOUBLE: 1}
    with_second = market.breaches(placed(first), placed(second))
    assert with_second == {Kind.DOUBLE: 1}
