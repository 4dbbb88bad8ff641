"""Secrets that are made once and kept in a file for their owner alone."""

import contextlib
import errno
import os
import secrets
import tempfile
from pathlib import Path

from hosting.embedded.privileges import Account

SECRET_BYTES = 36


def kept_secret(path: Path) -> str:
    """The secret in a file, which is made if it is missing. Letters, digits, - and _. Raises OSError."""
    if not path.exists():
        # Written beside and then linked: it is there whole or not at all, and the first of two writers wins.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-") as file:
            file.write(secrets.token_urlsafe(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text().strip()


def write_private(path: Path, text: str, account: Account | None) -> None:
    """Write a file that only the account, or we ourselves, may read. Raises OSError.

    As root for an account, only in a folder that is the account's own: its processes may have put a link in the
    folder's place, and must not have us write where they may not.
    """
    as_root = account is not None and os.geteuid() == 0
    unfinished = f"{path.name}.part"
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if account is not None and as_root and os.fstat(folder).st_uid != account.uid:
            raise PermissionError(errno.EPERM, f"not a folder of user {account.name}", str(path.parent))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished, dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(unfinished, flags, 0o600, dir_fd=folder)
        with open(descriptor, "w") as file:
            if account is not None and as_root:
                os.fchown(descriptor, account.uid, account.gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(unfinished, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)
