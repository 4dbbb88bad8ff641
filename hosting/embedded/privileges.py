"""How root is given up, and what happens in a child between fork and exec.

Started by root, nothing of ours stays root: see accounts.py for the account. It often cannot reach its own files,
because a folder above them is closed to everybody but root, as `/root` and the folders of `mktemp -d` are. Opening
a folder that is not ours is out of the question. On Linux a process then keeps one capability: CAP_DAC_READ_SEARCH,
with which it may enter any folder and read any file, but write none. Containers mostly take that one from root and
leave CAP_DAC_OVERRIDE, which is kept there instead. docs/adr/0016-an-account-of-our-own.md says why.

Invariant: what runs in the child only makes system calls on objects that the parent has prepared.
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
CAPABILITIES = range(32)  # of the first of the two words, which has all that matter here
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
    """An account other than root that our processes run as.

    `closed` is a path that it cannot reach without `capability`. Both are None if it reaches everything.
    """

    name: str  # its number if it has no name
    uid: int
    gid: int
    closed: Path | None = None
    capability: int | None = None

    @property
    def capabilities(self) -> int:
        """The capabilities that its processes keep, as a mask."""
        return 0 if self.capability is None else 1 << self.capability

    def own(self, path: Path) -> None:
        """Give a file or folder that we made to this account; of a link, the link."""
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
    """The capabilities that this process may use, as a mask; 0 on other systems than Linux."""
    sets = (_CapabilitySet * 2)()
    if not LINUX or LIBC.capget(ctypes.byref(_HEADER), ctypes.byref(sets)) != 0:
        return 0
    return int(sets[0].permitted)


def give_up_root(account: Account | None, *, and_keep: int = 0) -> None:
    """Run as `account` from now on, with its capabilities and those of the mask `and_keep`; no way leads back.

    Does nothing unless we are root. Raises `PermissionError` if root lacks CAP_SETUID or CAP_SETGID. To be called
    before threads are started, which would keep their capabilities.
    """
    if account is None or os.geteuid() != 0:
        return
    death_signal = ctypes.c_int(0)
    if LINUX:
        LIBC.prctl(PR_GET_PDEATHSIG, ctypes.addressof(death_signal), 0, 0, 0)
    _become(account, account.capabilities | and_keep)
    if LINUX:  # both are lost with the change of account
        LIBC.prctl(PR_SET_PDEATHSIG, death_signal.value, 0, 0, 0)
        LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # what looks into /proc/self goes on to work


def give_up_capability(capability: int) -> None:
    """Go on without this capability; harmless if we do not have it."""
    if os.geteuid() != 0:
        _keep_only(~(1 << capability))


def child_setup(
    *,
    account: Account | None,
    death_signal: signal.Signals,
    cpu: int | None = None,
    and_keep: int = 0,
) -> Callable[[], None]:
    """What a child of the calling process runs before its program: become `account`, stay on `cpu`, die with us.

    `death_signal` is what Linux sends the child when the thread that started it is gone, `kill -9` included.
    Other systems have no such thing; there the next start finds what was left over. A child of an account keeps
    its capabilities and those of the mask `and_keep`, and no other.
    """
    parent = os.getpid()

    def run() -> None:
        if account is not None:
            kept = account.capabilities | and_keep
            if os.geteuid() == 0:
                _become(account, kept)
            else:
                _keep_only(kept)
        if LINUX and cpu is not None:
            with contextlib.suppress(OSError):  # taken away since it was chosen: slower, but right
                os.sched_setaffinity(0, {cpu})
        if LINUX:  # after the change of account, which clears it
            LIBC.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked to be told
                os._exit(1)

    return run


def _become(account: Account, kept: int) -> None:
    if LINUX and kept:
        LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        # Without this access(2), by which initdb looks for its programs, takes no account of capabilities.
        LIBC.prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.gid)
    os.setuid(account.uid)
    if LINUX:
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _keep_only(kept)


def _keep_only(mask: int) -> None:
    """Keep what we have of these capabilities, also through exec, and no other.

    Failure is not an error here: the files may be in reach without them. If they are not, the exec or the server
    itself fails, and the message says what to do.
    """
    if not LINUX:
        return
    kept = held_capabilities() & mask & 0xFFFFFFFF
    sets = (_CapabilitySet * 2)(_CapabilitySet(kept, kept, kept), _CapabilitySet())
    if LIBC.capset(ctypes.byref(_HEADER), ctypes.byref(sets)) == 0:
        for capability in CAPABILITIES:
            if kept >> capability & 1:
                LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)
