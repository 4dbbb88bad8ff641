"""Draws the latencies of a run: the percentile curve, and the distribution below it.

Only this module loads Matplotlib, a development dependency. Everything else works without it.
"""

import math
from pathlib import Path
from typing import Any

from loadtools.latency import PERCENTILES, Latencies, percentile_name
from loadtools.run import LoadRun

_CURVE_POINTS = 400
_BARS = 80
_INK = "#1f4e79"
_MARK = "#c0504d"
_GREY = "#666666"


class MatplotlibError(RuntimeError):
    """Matplotlib is not installed. The message says how to install it."""


def save_picture(run: LoadRun, path: Path) -> None:
    """Write a PNG of a run that has at least one right answer.

    Raises `MatplotlibError`, and `OSError` or `ValueError` if the path can't be written or is not a
    picture's.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise MatplotlibError(
            "no picture: matplotlib is not installed. Get it with: pip install '.[dev]'"
        ) from None

    figure = Figure(figsize=(10, 8), layout="constrained")
    FigureCanvasAgg(figure)
    loop = "open loop, latency from when a request was due" if run.plan.rate_per_second else "closed loop"
    figure.suptitle(
        f"{run.achieved_per_second:,.0f} orders/s for {run.outcome.elapsed_seconds:,.0f} s, {loop}\n"
        f"{run.outcome.requests:,} orders, {run.outcome.errors.total():,} errors",
        fontsize=11,
    )
    curve, distribution = figure.subplots(2, 1, height_ratios=[3, 2])
    _draw_percentiles(curve, run.latencies)
    _draw_distribution(distribution, run.latencies)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw_percentiles(curve: Any, latencies: Latencies) -> None:
    """Draw the latency of each percentile into an empty plot."""
    # The axis is 1 / (1 - fraction), so each further nine of the tail has the same width.
    ninths_max = max(math.log10(latencies.count), 2)
    inverses = [10 ** (ninths_max * i / _CURVE_POINTS) for i in range(_CURVE_POINTS + 1)]
    values = [latencies.milliseconds_at(100 * (1 - 1 / inverse)) for inverse in inverses]
    values[-1] = latencies.milliseconds_at(100)
    curve.plot(inverses, values, color=_INK, linewidth=2)
    curve.set_xscale("log")
    curve.set_yscale("log")
    marks = [
        percentile
        for percentile in (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
        if _inverse(percentile) <= 10**ninths_max
    ]
    curve.set_xticks([_inverse(mark) for mark in marks], [f"{mark:g} %" for mark in marks])
    curve.set_xticks([], minor=True)
    curve.set_xlim(1, 10**ninths_max * 1.6)
    for percentile in PERCENTILES:
        x = min(_inverse(percentile), 10**ninths_max)
        curve.plot([x], [latencies.milliseconds_at(percentile)], "o", color=_MARK, markersize=5)
    # Labels at the points would overlap, so a list is drawn in the corner that is always free.
    curve.text(
        0.015,
        0.97,
        "\n".join(
            f"{percentile_name(percentile):<6} {latencies.milliseconds_at(percentile):>10,.2f} ms"
            for percentile in PERCENTILES
        ),
        transform=curve.transAxes,
        va="top",
        family="monospace",
        fontsize=9,
        color=_MARK,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )
    curve.margins(y=0.2)
    curve.set_ylabel("latency, ms")
    curve.set_xlabel("share of the requests that were answered within it")
    curve.yaxis.set_major_formatter(_plain)
    curve.yaxis.set_minor_formatter(_plain_if_two_or_five)
    curve.tick_params(axis="y", which="minor", labelsize=8, labelcolor=_GREY)
    curve.grid(visible=True, which="both", alpha=0.25)


def _draw_distribution(distribution: Any, latencies: Latencies) -> None:
    """Draw how many requests had which latency into an empty plot."""
    counted = latencies.counted_milliseconds()
    low, high = counted[0][0], max(counted[-1][0], counted[0][0] * 1.1)
    edges = [low * (high / low) ** (i / _BARS) for i in range(_BARS + 1)]
    weights = [count for _, count in counted]
    distribution.hist([value for value, _ in counted], bins=edges, weights=weights, color=_INK, alpha=0.85)
    distribution.set_xscale("log")
    distribution.axvline(latencies.milliseconds_at(50), color=_MARK, linewidth=1)
    distribution.set_xlabel("latency, ms")
    distribution.set_ylabel("requests")
    distribution.xaxis.set_major_formatter(_plain)
    distribution.xaxis.set_minor_formatter(_plain_if_two_or_five)
    distribution.yaxis.set_major_formatter(_plain)
    distribution.tick_params(axis="x", which="minor", labelsize=8, labelcolor=_GREY)
    distribution.grid(visible=True, axis="y", alpha=0.25)


def _plain(value: float, position: object) -> str:
    """Format a number of an axis without powers of ten."""
    return f"{value:,.10f}".rstrip("0").rstrip(".")


def _plain_if_two_or_five(value: float, position: object) -> str:
    """Label only 2 and 5 between powers of ten, because there is room for two labels."""
    return _plain(value, position) if f"{value:e}"[0] in "25" else ""


def _inverse(percentile: float) -> float:
    return math.inf if percentile == 100 else 100 / (100 - percentile)
