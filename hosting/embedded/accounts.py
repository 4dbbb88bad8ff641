"""Chooses the account that runs everything if root starts it.

No other software shares this account. It is a number without an entry in /etc/passwd, so nothing is
created on the system. The account owns the data folder, so the next start finds it there. If the
machine has an account named `exchange`, that one is used. If the folder belongs to an ordinary
user, the folder keeps its owner, and everything runs as that user.
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

_ACCOUNT_NAME = "exchange"
# These numbers are above those of ordinary users, below the ranges of systemd and Debian, and
# within the 65,536 numbers that a container may have.
NUMBERS = range(50_000, 59_999)
# Exit statuses of the child process that tries paths. A lower one is the index of the first path
# that it can't read.
_ALL_READABLE = 254
_ACCOUNT_NOT_CHANGED = 255
# Names of metrics files: see base/metrics_files.py.
_METRICS_FILE = re.compile(r"(counter|histogram|summary|gauge).*\.(db|new|journal)|.+\.alive|\.turn")


def prepare_account(locations: Locations, *folders: Path) -> Account | None:
    """Make the data folder, and give it and `folders` to the account that runs everything.

    Returns the account, or None if this process is not root: then everything runs as its own user.
    Raises `OSError`, and `ProcessError` if all numbers are taken.
    """
    locations.make_data_dir()
    if os.geteuid() != 0:
        return None
    account = _choose_account(locations)
    _hand_over(locations.data_dir, account, is_ours=lambda entry: entry.name in DATA_NAMES)
    for folder in folders:
        _hand_over(folder, account, is_ours=_is_metrics_file)
    return account


def with_needed_capability(account: Account | None, *paths: Path) -> Account | None:
    """Return the account, with a capability if it can't read one of these paths without it."""
    if account is None or os.geteuid() != 0:
        return account
    closed = _unreachable(account, paths)
    if closed is None or not LINUX:
        return account
    return replace(account, closed=closed, capability=_reading_capability())


def program_files() -> list[Path]:
    """Return one file of each tree that our processes read.

    The trees are the interpreter, its library, its packages and this project.
    """
    import django  # noqa: PLC0415 - stands for any installed package

    return [Path(sys.executable), Path(os.__file__), Path(django.__file__), Path(__file__)]


def named_account() -> Account:
    """Return an account in /etc/passwd other than root, which initdb needs.

    Raises `ProcessError`.
    """
    entries = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in ("nobody", *entries):
        if name in entries:
            entry = entries[name]
            return Account(name, entry.pw_uid, entry.pw_gid, capability=_reading_capability())
    raise ProcessError("PostgreSQL can't be set up by root on a machine whose /etc/passwd has no other user.")


def _reading_capability() -> int | None:
    """Return the weakest held capability that allows entering the folders above our files."""
    held = held_capabilities()
    return next((each for each in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if held >> each & 1), None)


def has_entry(account: Account) -> bool:
    """Return whether the system's user database has a name for the account."""
    try:
        pwd.getpwuid(account.uid)
    except KeyError:
        return False
    return True


def give_tree(top: Path, account: Account) -> None:
    """Give a folder and everything in it to the account.

    The folder itself comes last, so its owner shows whether the change is complete.
    """
    for folder, folders, files in os.walk(top, topdown=False):
        for name in (*folders, *files):
            # Metrics files of a process that has just ended may disappear.
            with contextlib.suppress(FileNotFoundError):
                account.own(Path(folder) / name)
    account.own(top)


def _choose_account(locations: Locations) -> Account:
    """Return the owner of the data folder or of the PostgreSQL cluster.

    If root owns both, return an account of the exchange's own.
    """
    for path in (locations.data_dir, locations.postgres_data):
        if path.exists() and (owner := path.stat()).st_uid != 0:
            return Account(_account_name(owner.st_uid), owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(_ACCOUNT_NAME)
    except KeyError:
        number = _unused_number(str(locations.data_dir))
        return Account(str(number), number, number)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _unused_number(seed: str) -> int:
    """Return a number that no account and no process uses."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.pw_gid for entry in pwd.getpwall()}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            taken.add(process.stat().st_uid)
        except OSError:  # The process has ended.
            continue
    first = zlib.crc32(seed.encode(errors="surrogateescape"))
    for step in range(len(NUMBERS)):
        number = NUMBERS[(first + step) % len(NUMBERS)]
        if number not in taken:
            return number
    raise ProcessError("no user number is free for the exchange: create an account named exchange.")


def _hand_over(folder: Path, account: Account, *, is_ours: Callable[[Path], bool]) -> None:
    """Give our entries of a folder to the account, and the folder itself if it has no others.

    Entries that already belong to the account are not searched, because its processes might have
    put links there. A file with a second name (hard link) is refused, because it might be a file of
    the system under one of our names. Raises OSError.
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
        # Root's link leads to a folder on another disk, for example.
        if stat.S_ISLNK(found.st_mode) and found.st_uid == 0 and entry.is_dir():
            give_tree(entry.resolve(), account)
    if folder.lstat().st_uid != account.uid and len(ours) == len(entries):
        account.own(folder)


def _is_metrics_file(entry: Path) -> bool:
    """Return whether this is a metrics file. EXCHANGE_METRICS_DIR may have other files as well."""
    return _METRICS_FILE.fullmatch(entry.name) is not None and stat.S_ISREG(entry.lstat().st_mode)


def _unreachable(account: Account, paths: Iterable[Path]) -> Path | None:
    """Return the folder or file that keeps the account from reading the paths without a capability.

    A child process tries all paths, and the folders above them, as the account.
    """
    tried = list(dict.fromkeys(step for path in paths for step in _steps_to(path)))
    child = os.fork()
    if child == 0:
        result = _ACCOUNT_NOT_CHANGED
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            steps = enumerate(tried[:_ALL_READABLE])
            denied = (index for index, (path, mode) in steps if not os.access(path, mode))
            result = next(denied, _ALL_READABLE)
        finally:
            os._exit(result)
    _, status = os.waitpid(child, 0)
    result = os.waitstatus_to_exitcode(status)
    if result == _ACCOUNT_NOT_CHANGED:
        raise ProcessError(
            "root may not change to another user here (it lacks CAP_SETUID or CAP_SETGID), and no process of ours"
            " may run as root: start as an ordinary user."
        )
    return None if result == _ALL_READABLE else tried[result][0]


def _steps_to(path: Path) -> list[tuple[Path, int]]:
    """Return the folders above a path and behind its links, and the path, with the needed access."""
    folders = dict.fromkeys((*reversed(path.absolute().parents), *reversed(path.resolve().parents)))
    return [*((folder, os.X_OK) for folder in folders), (path, os.R_OK)]
