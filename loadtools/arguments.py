"""Types for command line options."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return an option's type: a whole number from `low` to `high`, both included."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ArgumentTypeError(f"{text!r} is not a whole number between {low} and {high}")
        return int(text)

    return parse
