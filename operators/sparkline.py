"""Draws a small line chart of prices as the coordinates of an SVG, in whole numbers.

The template writes them into the page, so the chart needs no script and no inline style.
"""

from collections.abc import Sequence
from typing import NamedTuple

STEP = 10  # The horizontal distance of two prices.
HEIGHT = 100
MARGIN = 4  # Space above the highest and below the lowest price, for the width of the line.


class Sparkline(NamedTuple):
    """The chart's box, the points of its line and of the area below it, and the first price's height."""

    width: int
    height: int
    line: str
    area: str
    first_y: int


def draw(prices: Sequence[int | None]) -> Sparkline | None:
    """Return the chart of prices at equal distances in time, oldest first, or None for fewer than two.

    A price of None, before the first trade, leaves its place empty. The lowest price is at the
    bottom and the highest at the top.
    """
    known = [price for price in prices if price is not None]
    if len(known) < 2:
        return None
    lowest, span = min(known), max(known) - min(known)
    bottom = HEIGHT + 2 * MARGIN
    points = [
        (number * STEP, bottom - MARGIN - ((price - lowest) * HEIGHT // span if span else HEIGHT // 2))
        for number, price in enumerate(prices)
        if price is not None
    ]
    first_x, first_y = points[0]
    last_x, _ = points[-1]
    line = " ".join(f"{x},{y}" for x, y in points)
    return Sparkline(
        width=(len(prices) - 1) * STEP,
        height=bottom,
        line=line,
        area=f"{first_x},{bottom} {line} {last_x},{bottom}",
        first_y=first_y,
    )
