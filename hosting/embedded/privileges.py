"""Gives up root, and prepares a child process between fork and exec.

If root starts the exchange, no process stays root: see accounts.py for the account. The account
often can't reach its own files, because a folder above them is closed to all users but root, such
as `/root` and the folders of `mktemp -d`. The exchange must not open such a folder to others. So on
Linux a process then keeps one capability, CAP_DAC_READ_SEARCH. It allows entering any folder and
reading any file, but not writing. In most containers root lacks it and has CAP_DAC_OVERRIDE, which
is kept there instead. docs/adr/0016-an-account-of-our-own.md gives the reasons.

Invariant: the code in the child only makes system calls on objects that the parent has prepared.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Linux's numbers, from prctl(2), capset(2) and capabilities(7)
PR_SET_PDEATHSIG = 1
PR_GET_PDEATHSIG = 2
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
SECBIT_KEEP_CAPS = 1 << 4
CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = range(32)  # Those in the first of two words. The others are not needed here.
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_NET_BIND_SERVICE = 10
CAPABILITY_NAMES = {
    CAP_DAC_OVERRIDE: "CAP_DAC_OVERRIDE",
    CAP_DAC_READ_SEARCH: "CAP_DAC_READ_SEARCH",
    CAP_NET_BIND_SERVICE: "CAP_NET_BIND_SERVICE",
}

LINUX = sys.platform == "linux"
LIBC = ctypes.CDLL(None, use_errno=True)
if LINUX:
    LIBC.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


@dataclass(frozen=True)
class Account:
    """An account other than root that runs our processes.

    `closed` is a folder or file that it can't reach without `capability`. Both are None if it
    reaches all paths.
    """

    name: str  # The number if the account has no name.
    uid: int
    gid: int
    closed: Path | None = None
    capability: int | None = None

    @property
    def capabilities(self) -> int:
        """The capabilities that its processes keep, as a mask."""
        return 0 if self.capability is None else 1 << self.capability

    def own(self, path: Path) -> None:
        """Give a file or folder to this account. A link is not followed."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_HEADER = _CapabilityHeader(CAPABILITY_VERSION_3, 0)


def held_capabilities() -> int:
    """Return the mask of this process's capabilities. 0 on other systems than Linux."""
    sets = (_CapabilitySet * 2)()
    if not LINUX or LIBC.capget(ctypes.byref(_HEADER), ctypes.byref(sets)) != 0:
        return 0
    return int(sets[0].permitted)


def give_up_root(account: Account | None, *, and_keep: int = 0) -> None:
    """Change from root to `account` for good, and do nothing if this process is not root.

    The process keeps the account's capabilities and the mask `and_keep`. Call it before threads are
    started, because they would keep their capabilities. Raises `PermissionError` if root lacks
    CAP_SETUID or CAP_SETGID.
    """
    if account is None or os.geteuid() != 0:
        return
    death_signal = ctypes.c_int(0)
    if LINUX:
        LIBC.prctl(PR_GET_PDEATHSIG, ctypes.addressof(death_signal), 0, 0, 0)
    _change_account(account, account.capabilities | and_keep)
    if LINUX:  # The change of account has reset both settings.
        LIBC.prctl(PR_SET_PDEATHSIG, death_signal.value, 0, 0, 0)
        LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # Code that reads /proc/self needs this.


def give_up_capability(capability: int) -> None:
    """Give up this capability, if this process has it."""
    if os.geteuid() != 0:
        _keep_capabilities(~(1 << capability))


def child_setup(
    *,
    account: Account | None,
    death_signal: signal.Signals,
    cpu: int | None = None,
    and_keep: int = 0,
) -> Callable[[], None]:
    """Return the function that a child runs before its program.

    The child changes to `account` and stays on `cpu`. On Linux it gets `death_signal` when the
    thread that started it ends, even by `kill -9`. On other systems the next start stops remaining
    processes. A child of an account keeps the account's capabilities and the mask `and_keep`, and
    no others.
    """
    parent = os.getpid()

    def run() -> None:
        if account is not None:
            kept = account.capabilities | and_keep
            if os.geteuid() == 0:
                _change_account(account, kept)
            else:
                _keep_capabilities(kept)
        if LINUX and cpu is not None:
            # The CPU may be unavailable by now. The child is only slower then.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {cpu})
        if LINUX:  # This must follow the change of account, which clears the signal.
            LIBC.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # The parent died before the signal was set.
                os._exit(1)

    return run


def _change_account(account: Account, kept: int) -> None:
    if LINUX and kept:
        LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        # Without this, access(2) ignores capabilities. initdb finds its programs with access(2).
        LIBC.prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.gid)
    os.setuid(account.uid)
    if LINUX:
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _keep_capabilities(kept)


def _keep_capabilities(mask: int) -> None:
    """Keep the held capabilities of this mask, also through exec, and no others.

    A failure is not an error here, because the files may be readable without them. If they are not,
    the exec or the server itself fails, and its message says what to do.
    """
    if not LINUX:
        return
    kept = held_capabilities() & mask & 0xFFFFFFFF
    sets = (_CapabilitySet * 2)(_CapabilitySet(kept, kept, kept), _CapabilitySet())
    if LIBC.capset(ctypes.byref(_HEADER), ctypes.byref(sets)) == 0:
        for capability in CAPABILITIES:
            if kept >> capability & 1:
                LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)
