"""The books of the tests: each test of a rule runs on the engine and on the reference."""

import pytest

from matching.engine import OrderBook
from tests.engine.orders import Book
from tests.engine.reference import ReferenceBook


@pytest.fixture(params=[OrderBook, ReferenceBook], ids=["engine", "reference"])
def book(request: pytest.FixtureRequest) -> Book:
    made: Book = request.param()
    return made
