"""The account that runs everything if root starts it: one of our own, which no other software shares.

It is a number without an entry in /etc/passwd, so nothing is created on the system. The data folder belongs to it,
and that is where the next start finds it. An account named `exchange` is taken instead if the machine has one. A
folder that belongs to an ordinary user keeps its owner, and everything runs as that user.
"""

import contextlib
import errno
import os
import pwd
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from hosting.embedded.locations import DATA_NAMES, Locations
from hosting.embedded.privileges import (
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    LINUX,
    Account,
    held_capabilities,
)
from hosting.embedded.processes import ProcessError

ACCOUNT_NAME = "exchange"
# Above the users that people add and below what systemd and Debian give out, and still inside the 65,536 numbers
# that a container may have.
NUMBERS = range(50_000, 59_999)
# Files of processes' counts: see base/metrics_files.py.
COUNTS = re.compile(r"(counter|histogram|summary|gauge).*\.(db|new|journal)|.+\.alive|\.turn")
# An earlier version ran its servers as one of these. Other software does too, so their data changes hands.
SHARED_ACCOUNTS = ("postgres", "nobody")


def prepare_account(locations: Locations, *folders: Path) -> Account | None:
    """Make the data folder, and give it and `folders` to the account that everything is to run as.

    Returns the account, None if we are not root and everything runs as ourselves. Raises `OSError`, and
    `ProcessError` if all numbers are taken.
    """
    locations.make_data_dir()
    if os.geteuid() != 0:
        return None
    account = _choose(locations)
    _hand_over(locations.data_dir, account, is_ours=lambda entry: entry.name in DATA_NAMES)
    for folder in folders:
        _hand_over(folder, account, is_ours=_is_counts)
    return account


def reaching(account: Account | None, *paths: Path) -> Account | None:
    """The account as what runs it must be to read these paths: with a capability only if they are closed to it."""
    if account is None or os.geteuid() != 0:
        return account
    closed = _unreachable(account, paths)
    if closed is None or not LINUX:
        return account
    return replace(account, closed=closed, capability=_reading_capability())


def program_files() -> list[Path]:
    """One file of each tree that our own processes read: the interpreter, its library, its packages, ourselves."""
    import django  # noqa: PLC0415 - any package of the environment

    return [Path(sys.executable), Path(os.__file__), Path(django.__file__), Path(__file__)]


def named_account() -> Account:
    """An account with an entry in /etc/passwd that is not root: initdb asks for one. Raises `ProcessError`."""
    entries = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in (*reversed(SHARED_ACCOUNTS), *entries):
        if name in entries:
            entry = entries[name]
            return Account(name, entry.pw_uid, entry.pw_gid, capability=_reading_capability())
    raise ProcessError("PostgreSQL can't be set up by root on a machine whose /etc/passwd has no other user.")


def _reading_capability() -> int | None:
    """The least capability that we hold of those with which folders above our files can be entered."""
    held = held_capabilities()
    return next((each for each in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if held >> each & 1), None)


def has_entry(account: Account) -> bool:
    """Whether /etc/passwd, or what stands for it, has a name for the account."""
    try:
        pwd.getpwuid(account.uid)
    except KeyError:
        return False
    return True


def give_tree(top: Path, account: Account) -> None:
    """Give a folder and everything in it to the account; the top comes last, so a half-done change is seen."""
    for folder, folders, files in os.walk(top, topdown=False):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):  # counts of a process that has just ended
                account.own(Path(folder) / name)
    account.own(top)


def _choose(locations: Locations) -> Account:
    """The owner of the data folder, or of the cluster; if that is root or a shared account, one of our own."""
    shared = {0} | {entry.pw_uid for entry in pwd.getpwall() if entry.pw_name in SHARED_ACCOUNTS}
    for path in (locations.data_dir, locations.postgres_data):
        if path.exists() and (owner := path.stat()).st_uid not in shared:
            return Account(_name(owner.st_uid), owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        number = _unused_number(str(locations.data_dir))
        return Account(str(number), number, number)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _unused_number(seed: str) -> int:
    """A number that no account has and no process runs as."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.pw_gid for entry in pwd.getpwall()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            taken.add(process.stat().st_uid)
        except OSError:  # it has ended
            continue
    first = zlib.crc32(seed.encode(errors="surrogateescape"))
    for step in range(len(NUMBERS)):
        number = NUMBERS[(first + step) % len(NUMBERS)]
        if number not in taken:
            return number
    raise ProcessError("no user number is free for the exchange: create an account named exchange.")


def _hand_over(folder: Path, account: Account, *, is_ours: Callable[[Path], bool]) -> None:
    """Give what is ours in a folder to the account, and the folder itself if nothing else is in it.

    Of what belongs to the account already nothing is looked at: its processes might have put links there. Nor is a
    file handed over that has another name: it might be a file of the system's under one of ours. Raises OSError.
    """
    entries = list(folder.iterdir())
    ours = [entry for entry in entries if is_ours(entry)]
    for entry in ours:
        found = entry.lstat()
        if found.st_uid == account.uid:
            continue
        if stat.S_ISDIR(found.st_mode):
            give_tree(entry, account)
        elif stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            raise PermissionError(errno.EPERM, "a file with two names is not handed over", str(entry))
        else:
            account.own(entry)
        if stat.S_ISLNK(found.st_mode) and found.st_uid == 0 and entry.is_dir():  # to a larger disk
            give_tree(entry.resolve(), account)
    if folder.lstat().st_uid != account.uid and len(ours) == len(entries):
        account.own(folder)


def _is_counts(entry: Path) -> bool:
    """Whether it is a file of processes' counts: EXCHANGE_METRICS_DIR may name a folder that has others as well."""
    return COUNTS.fullmatch(entry.name) is not None and stat.S_ISREG(entry.lstat().st_mode)


def _unreachable(account: Account, paths: Iterable[Path]) -> Path | None:
    """The first path that the account may not read without a capability; a child tries it."""
    tried = list(paths)
    child = os.fork()
    if child == 0:
        result = 255
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            result = next((index for index, path in enumerate(tried) if not os.access(path, os.R_OK)), 254)
        finally:
            os._exit(result)
    _, status = os.waitpid(child, 0)
    result = os.waitstatus_to_exitcode(status)
    if result == 255:
        raise ProcessError(
            "root may not change to another user here (it lacks CAP_SETUID or CAP_SETGID), and nothing of ours"
            " is to run as root: start as an ordinary user."
        )
    return None if result == 254 else tried[result]
