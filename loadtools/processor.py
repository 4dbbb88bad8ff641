"""Processor time of a tree of processes, as Linux tells it in /proc (see proc_pid_stat(5))."""

import os
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")
PARENT_FIELD = 1  # of the fields after the command's name
TIME_FIELDS = slice(11, 15)  # user, system, and both of the children that have ended


def processor_seconds(root: int, *, named: str) -> float | None:
    """What the processes of `process_ticks` have used, in seconds; None without /proc."""
    if not PROC.is_dir():
        return None
    return sum(process_ticks(root, named=named).values()) / os.sysconf("SC_CLK_TCK")


def process_ticks(root: int, *, named: str) -> dict[int, int]:
    """Processor time in the kernel's ticks, by process id.

    Of `root`, every process with `named` in its command line, and all their descendants: servers that were
    started as daemons are nobody's children.
    """
    children: dict[int, list[int]] = defaultdict(list)
    ticks: dict[int, int] = {}
    pending = [root]
    for folder in PROC.glob("[0-9]*"):
        process = int(folder.name)
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended meanwhile
        children[int(fields[PARENT_FIELD])].append(process)
        ticks[process] = sum(int(field) for field in fields[TIME_FIELDS])
        if named.encode() in command:
            pending.append(process)
    found: dict[int, int] = {}
    while pending:
        process = pending.pop()
        if process in ticks and process not in found:
            found[process] = ticks[process]
            pending.extend(children[process])
    return found
