"""Processes that an earlier `serve` left behind: when they have ended, and their ports are free."""

import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hosting.supervisor.lock import _may_hold_resources
from tests.system.exchange import wait_until

# The first thread ends, and another thread goes on.
FIRST_THREAD_ENDS = """
import ctypes, sys, threading, time
threading.Thread(target=time.sleep, args=[600]).start()
print("begun", flush=True)
ctypes.CDLL(None).syscall(int(sys.argv[1]), 0)
"""
EXIT_OF_A_THREAD = {"x86_64": "60", "aarch64": "93"}  # the number of the system call


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists() or platform.machine() not in EXIT_OF_A_THREAD, reason="needs Linux"
)
def test_a_process_may_hold_resources_until_its_last_thread_has_ended() -> None:
    command = [sys.executable, "-c", FIRST_THREAD_ENDS, EXIT_OF_A_THREAD[platform.machine()]]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            wait_until(lambda: psutil.Process(process.pid).status() == "zombie", "the first thread has ended")
            assert _may_hold_resources(process.pid)
        finally:
            process.kill()
        wait_until(lambda: not _may_hold_resources(process.pid), "the other thread has ended")
