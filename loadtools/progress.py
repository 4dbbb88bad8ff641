"""Progress bars on stderr. No thread redraws them, because it would add latency to a load test."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_REDRAW_SECONDS = 0.5


class Bar:
    """A bar that shows how many of `total` are done."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._drawn_at = 0.0

    def show(self, completed: int, note: str = "") -> None:
        """Show the progress. Draws at most twice a second, so calls are cheap."""
        now = time.monotonic()
        if now - self._drawn_at >= _REDRAW_SECONDS:
            self._drawn_at = now
            self._progress.update(self._task, completed=completed, note=note, refresh=True)

    def finish(self, completed: int, note: str = "") -> None:
        self._progress.update(self._task, completed=completed, note=note, refresh=True)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Bar]:
    """Show a bar during the block. If stderr is not a terminal, only its last state appears."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as progress:
        yield Bar(progress, progress.add_task(title, total=total, note=""))
