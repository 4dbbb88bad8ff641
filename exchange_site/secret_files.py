"""Makes the secrets of a new deployment, each once: python -m exchange_site.secret_files FOLDER

For docker-compose.yml, where nobody is there to choose passwords and a published default is none. What is there
is never changed: PostgreSQL keeps the password of its first start. Written whole or not at all, so that a start
that was cut off leaves nothing half-made. Needs no Django, and reads no settings: they need the secrets.
"""

import os
import secrets
import sys
from pathlib import Path

PASSWORD_BYTES = 32
# The servers run as users of their own, so every container that is given the folder may read all of it.
MODE = 0o644


def make_secret_files(folder: Path) -> list[str]:
    """Make the files that are missing and return their names. Raises OSError."""
    postgres = _keep(folder / "postgres_password")
    redis = _keep(folder / "redis_password")
    contents = {
        "postgres_password": postgres,
        "postgres_uri": f"postgres://exchange:{postgres}@postgres:5432/exchange",
        "redis_password": redis,
        "redis_url": f"redis://:{redis}@redis:6379/0",
        "redis.conf": f"requirepass {redis}",
        "django_secret_key": _keep(folder / "django_secret_key"),
    }
    missing = [name for name in contents if not (folder / name).exists()]
    for name in missing:
        _write(folder / name, contents[name])
    return missing


def _keep(path: Path) -> str:
    """The secret in a file, or a new one. Letters, digits, - and _: safe in a URL and in a configuration."""
    return path.read_text().strip() if path.exists() else secrets.token_urlsafe(PASSWORD_BYTES)


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("w") as file:
        os.fchmod(file.fileno(), MODE)
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m exchange_site.secret_files FOLDER")
    try:
        made = make_secret_files(Path(sys.argv[1]))
    except OSError as error:
        sys.exit(f"exchange: the secrets can't be written: {error.strerror}: {error.filename}")
    sys.stdout.write(f"secrets made: {', '.join(made) or 'none, all are there'}\n")
