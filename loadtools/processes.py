"""Reads processor time and memory of processes from Linux's /proc (see proc_pid_stat(5)).

Memory is the proportional set size (PSS), which counts shared pages once, such as PostgreSQL's
buffers.
"""

import os
from collections import defaultdict
from pathlib import Path

_PROC = Path("/proc")
# Positions among the fields after the command's name. The times are user and system time, each of
# the process and of its ended children.
_PARENT_FIELD = 1
_TIME_FIELDS = slice(11, 15)
KIB_PER_MIB = 1024
# Parts of the exchange, by the first of these words that a process's command line contains.
PARTS = {
    "run_matching": "matching worker",
    "exchange_site.asgi": "API process",
    "valkey": "Valkey",
    "postgres": "PostgreSQL",
    "manage.py serve": "serve",
}


def processor_seconds(root: int, *, named: str) -> float | None:
    """Return the processor time of the processes of `process_ticks` in seconds.

    None without /proc.
    """
    if not _PROC.is_dir():
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
    for folder in _PROC.glob("[0-9]*"):
        process = int(folder.name)
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # The process has ended.
        children[int(fields[_PARENT_FIELD])].append(process)
        ticks[process] = sum(int(field) for field in fields[_TIME_FIELDS])
        if named.encode() in command:
            pending.append(process)
    found: dict[int, int] = {}
    while pending:
        process = pending.pop()
        if process in ticks and process not in found:
            found[process] = ticks[process]
            pending.extend(children[process])
    return found


def part_of(process: int) -> str:
    """Return the part of the exchange that a process belongs to. Raises OSError if it has ended."""
    command = (_PROC / str(process) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return next((part for word, part in PARTS.items() if word in command), "others")


def mebibytes(process: int, *, file: str = "smaps_rollup", field: str = "Pss:") -> float:
    """Return a process's memory in MiB. Raises OSError if it has ended."""
    for line in (_PROC / str(process) / file).read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / KIB_PER_MIB
    raise ProcessLookupError(process)  # A zombie has no memory.
