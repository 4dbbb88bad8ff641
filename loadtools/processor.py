"""Reads the processor time of a tree of processes from Linux's /proc (see proc_pid_stat(5))."""

import os
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")
# Positions among the fields after the command's name. The times are user and system time, each of
# the process and of its ended children.
PARENT_FIELD = 1
TIME_FIELDS = slice(11, 15)


def processor_seconds(root: int, *, named: str) -> float | None:
    """Return the processor time of the processes of `process_ticks` in seconds.

    None without /proc.
    """
    if not PROC.is_dir():
        return None
    return sum(process_ticks(root, named=named).values()) / os.sysconf("SC_CLK_TCK")


def process_ticks(root: int, *, named: str) -> dict[int, int]:
    """Return processor times in the kernel's ticks, by process id.

    The processes are `root`, every process with `named` in its command line, and all their
    descendants. Servers that run as daemons are not descendants of `root`, so they are found by
    name.
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
            continue  # The process has ended.
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
