"""Metrics of the processor time, memory and open files that a process uses.

Each process reports its own usage, because another container could not see it. The last values of a
frozen process stay correct: it uses no processor time and no more memory. On systems other
than Linux, only the start time is reported.
"""

import contextlib
import os
import resource
import threading
import time
from pathlib import Path

from django.conf import settings
from prometheus_client import Gauge

_PROC = Path("/proc/self")
# The process's role. prometheus_client adds `pid`: the host, the process number and a random part.
_LABELS = ("process",)

# Processor time is a gauge although it only grows: counters are added up over all processes, also
# dead ones.
_processor = Gauge(
    "exchange_process_cpu_seconds", "Processor time used so far", _LABELS, multiprocess_mode="liveall"
)
_memory = Gauge(
    "exchange_process_resident_memory_bytes", "Resident memory", _LABELS, multiprocess_mode="liveall"
)
_open_files = Gauge(
    "exchange_process_open_files", "Open files and connections", _LABELS, multiprocess_mode="liveall"
)
_open_files_max = Gauge(
    "exchange_process_open_files_max",
    "Limit of open files and connections",
    _LABELS,
    multiprocess_mode="liveall",
)
_started = Gauge(
    "exchange_process_start_time_seconds",
    "Start time of the process, in seconds since 1970",
    _LABELS,
    multiprocess_mode="liveall",
)


def watch_this_process(role: str) -> None:
    """Update this process's metrics every METRICS_PROCESS_SECONDS on a separate thread.

    `role` is the process's role, for example "worker 0".
    """
    _started.labels(role).set(time.time())
    if not _PROC.exists():
        return
    threading.Thread(target=_update_forever, args=(role,), name="process-metrics", daemon=True).start()


def _update_forever(role: str) -> None:
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    while True:
        with contextlib.suppress(OSError):  # for example if no more files may be opened
            usage = resource.getrusage(resource.RUSAGE_SELF)
            _processor.labels(role).set(usage.ru_utime + usage.ru_stime)
            resident_pages = int((_PROC / "statm").read_text().split()[1])
            _memory.labels(role).set(resident_pages * page_bytes)
            _open_files.labels(role).set(len(os.listdir(_PROC / "fd")))
            _open_files_max.labels(role).set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        time.sleep(settings.METRICS_PROCESS_SECONDS)
