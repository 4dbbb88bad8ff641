"""Secrets that are generated once and kept in files that only their owner can read."""

import contextlib
import errno
import os
import secrets
import tempfile
from pathlib import Path

from hosting.embedded.privileges import Account

_SECRET_BYTES = 36


def kept_secret(path: Path) -> str:
    """Return the secret in a file. Generate it first if the file is missing. Raises OSError.

    A generated secret has only letters, digits, - and _.
    """
    if not path.exists():
        # Write a temporary file and link it. So the file is always complete, and the first of two
        # writers wins.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-") as file:
            file.write(secrets.token_urlsafe(_SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text().strip()


def write_private(path: Path, text: str, account: Account | None) -> None:
    """Write a file that only the account may read, or this process's user if `account` is None.

    Root writes for an account only into a folder that belongs to the account. The account's
    processes may have replaced the folder by a link, and root must not write where they may not.
    Raises OSError.
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
