"""Secrets that are made once and kept in a file for their owner alone."""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from exchange_site.embedded.privileges import Account

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
    """Write a file that only the account, or we ourselves, may read. Follows no link. Raises OSError."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w") as file:
        if account is not None and os.geteuid() == 0:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    unfinished.replace(path)
