"""The report of a run, printed and saved in files."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from chaos.campaign import Record

_COUNTED = (
    "requests",
    "acknowledged",
    "amended",
    "cancelled",
    "mass cancels and switches",
    "retried",
    "refused",
    "unknown",
    "guarded",
    "stream connections",
    "stream gaps",
    "checksums",
)


class _Row(NamedTuple):
    """Times of the recoveries from one kind of fault, in seconds."""

    fault: str
    times: int
    median: float
    max: float
    target: float | None = None


def _rows_of(recoveries: Sequence[tuple[str, float]], targets: dict[str, float] | None = None) -> list[_Row]:
    """Return a row for each kind of fault, in the order of their first occurrence."""
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for fault, recovered_in in recoveries:
        seconds[fault].append(recovered_in)
    return [
        _Row(fault, len(some), median(some), max(some), (targets or {}).get(fault))
        for fault, some in seconds.items()
    ]


class Report:
    """The results of one run."""

    def __init__(self, title: str, record: Record, targets: dict[str, float] | None = None) -> None:
        self.title = title
        self.record = record
        self.rows = _rows_of(record.recoveries, targets)
        self.late = [row for row in self.rows if row.target is not None and row.max > row.target]

    @property
    def is_good(self) -> bool:
        return not self.record.breaches and not self.late

    def lines(self) -> list[str]:
        """Return the lines below the table."""
        counts = ", ".join(f"{self.record.counts.get(name, 0):,} {name}" for name in _COUNTED)
        late = [f"{row.fault}: {row.max:.2f} s, more than {row.target:g} s" for row in self.late]
        listed = self.record.breaches.listed
        return [
            f"{len(self.record.recoveries)} faults in {self.record.seconds:.0f} s; {counts}",
            self.record.breaches.summary(),
            *late,
            *listed,
        ]

    def print(self, console: Console) -> None:
        table = Table(title=self.title, title_justify="left")
        table.add_column("fault")
        for column in self._columns()[1:]:
            table.add_column(column, justify="right")
        for row in self.rows:
            table.add_row(*self._cells(row))
        console.print(table)
        for line in self.lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    def save(self, folder: Path) -> None:
        """Save the report as Markdown and as JSON. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        columns = self._columns()
        table = [columns, ["---", *("---:" for _ in columns[1:])], *(self._cells(row) for row in self.rows)]
        markdown = [f"# {self.title}", "", *(f"| {' | '.join(cells)} |" for cells in table), ""]
        markdown += [f"{line}\n" for line in self.lines()]
        (folder / "report.md").write_text("\n".join(markdown))
        document = {
            "title": self.title,
            "seconds": self.record.seconds,
            "counts": self.record.counts,
            "recoveries": self.record.recoveries,
            "breaches": self.record.breaches.counts,
            "breaches_listed": self.record.breaches.listed,
        }
        (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(document)))

    def _columns(self) -> list[str]:
        target = ["target (s)"] if any(row.target is not None for row in self.rows) else []
        return ["fault", "times", "median (s)", "max (s)", *target]

    def _cells(self, row: _Row) -> list[str]:
        target = [] if row.target is None else [f"{row.target:g}"]
        return [row.fault, str(row.times), f"{row.median:.2f}", f"{row.max:.2f}", *target]
