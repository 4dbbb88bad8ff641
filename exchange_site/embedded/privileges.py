"""What happens in a child between fork and exec: who it runs as, where, and what becomes of it without its parent.

PostgreSQL refuses to run as root. Where we are root the servers run as an ordinary account instead. That
account often cannot reach its own files, since a folder above them is closed to everybody but root, as
`/root` and the folders of `mktemp -d` are; opening a folder that is not ours is out of the question. On Linux
the server keeps one capability instead, CAP_DAC_OVERRIDE: file permissions do not stop it, and every other
power of root is gone.

Invariant: what runs in the child only makes system calls on objects that the parent has prepared.
"""

import contextlib
import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ACCOUNTS_PREFERRED = ("postgres", "nobody")

# Linux's numbers, from prctl(2) and capset(2)
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
SECBIT_NO_SETUID_FIXUP = 1 << 2
SECBIT_KEEP_CAPS = 1 << 4
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_SYS_NICE = 23

LINUX = sys.platform == "linux"
LIBC = ctypes.CDLL(None, use_errno=True)
if LINUX:
    LIBC.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)


@dataclass(frozen=True)
class Account:
    """An account other than root that a server runs as."""

    name: str  # its number where it has none
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Give a file or folder that we made to this account."""
        os.chown(path, self.uid, self.gid)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilitySet(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_HEADER = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
_MASK = 1 << CAP_DAC_OVERRIDE
_KEPT = (_CapabilitySet * 2)(_CapabilitySet(_MASK, _MASK, _MASK), _CapabilitySet())


def server_account(cluster: Path, data_dir: Path) -> Account | None:
    """The account to run servers as; None where we are not root and they run as ourselves.

    Data keeps its owner: of PostgreSQL's cluster, or of the data folder where there is no cluster yet. Where that
    is root, it is the first of `ACCOUNTS_PREFERRED` that this machine has.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return Account(str(owner.st_uid), owner.st_uid, owner.st_gid)
    # A new cluster needs an account that has a name: initdb asks for it.
    accounts = [
        Account(entry.pw_name, entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall() if entry.pw_uid != 0
    ]
    folder_owner = data_dir.stat().st_uid if data_dir.exists() else 0
    owners = [account for account in accounts if account.uid == folder_owner]
    preferred = [account for name in ACCOUNTS_PREFERRED for account in accounts if account.name == name]
    return next(iter((*owners, *preferred)), Account("65534", 65534, 65534))


def may_place_servers() -> bool:
    """Whether we may say on which CPUs the servers' processes run: root needs a capability for it.

    They run as another account then; containers mostly take CAP_SYS_NICE from root.
    """
    if os.geteuid() != 0:
        return True
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_SYS_NICE & 1)


def child_setup(
    *, account: Account | None, death_signal: signal.Signals, cpu: int | None = None
) -> Callable[[], None]:
    """What a child of the calling process runs before its program: become `account`, stay on `cpu`, die with us.

    `death_signal` is what Linux sends the child when the thread that started it is gone, `kill -9` included.
    Other systems have no such thing; there the next start finds what was left over.
    """
    parent = os.getpid()

    def run() -> None:
        if account is not None:
            _become(account)
        if LINUX and cpu is not None:
            with contextlib.suppress(OSError):  # taken away since it was chosen: slower, but right
                os.sched_setaffinity(0, {cpu})
        if LINUX:  # after the change of account, which clears it
            LIBC.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked to be told
                os._exit(1)

    return run


def _become(account: Account) -> None:
    if LINUX:
        LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        # Without this access(2), by which initdb looks for its programs, takes no account of capabilities.
        LIBC.prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.gid)
    os.setuid(account.uid)
    # Failure is not an error here: a container may have taken the capability from us, and the files may be in
    # reach without it. Where they are not, the exec or the server itself fails, and the message says what to
    # do.
    if LINUX and LIBC.capset(ctypes.byref(_HEADER), ctypes.byref(_KEPT)) == 0:
        LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)
