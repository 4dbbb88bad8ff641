"""The report of a run, printed and as Markdown and JSON."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from chaos.strangers.verdict import Result

_COLUMNS = (
    "attack",
    "order p95 before (ms)",
    "during (ms)",
    "after (ms)",
    "cancels",
    "/livez, slowest (ms)",
    "largest process",
    "stopped by",
)


def _cells(result: Result) -> list[str]:
    """Return the cells of one row."""
    refused = sum(result.cancels_refused.values())
    return [
        result.name,
        *(f"{seconds * 1000:.0f}" for seconds in (result.p95_before, result.p95_during, result.p95_after)),
        f"{result.cancels - refused} of {result.cancels}",
        f"{result.alive_max * 1000:.0f}",
        f"{result.largest_process} {result.largest_mib:.0f} MiB",
        result.limits,
    ]


def print_report(results: list[Result], console: Console, *, timed: bool) -> None:
    """Print the table, and then a line for each breach."""
    table = Table(title="Strangers", title_justify="left")
    for column in _COLUMNS:
        table.add_column(column)
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    for result in results:
        for breach in result.breaches(timed=timed):
            console.print(f"{result.name}: {breach}", markup=False, highlight=False, soft_wrap=True)


def save(results: list[Result], folder: Path, *, timed: bool) -> None:
    """Save the report as Markdown and as JSON. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [list(_COLUMNS), ["---"] * len(_COLUMNS), *map(_cells, results)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    breaches = [(result.name, breach) for result in results for breach in result.breaches(timed=timed)]
    lines += ["", *(f"- {name}: {breach}" for name, breach in breaches)]
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
