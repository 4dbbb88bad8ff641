"""Makes the secrets of a new deployment once: python -m hosting.secret_files FOLDER

docker-compose.yml uses it, so that no passwords need to be chosen and there are no default ones.
Existing files never change, because PostgreSQL keeps the password of its first start. Each file is
written completely or not at all, so an interrupted start leaves no partial file. The module needs
no Django and reads no settings, because the settings need the secrets.

FOLDER contains every secret. It has a subfolder for each service, which is a volume of its own with
copies of the service's secrets. So a container can read no other service's secrets.
"""

import os
import secrets
import sys
from pathlib import Path

_PASSWORD_BYTES = 32
# The servers run as different users, so all users may read the files. Only the containers that need
# the files have the volume.
_MODE = 0o644

KEPT = (
    "postgres_password",  # The superuser's, which only creates the other roles.
    "postgres_owner_password",
    "postgres_api_password",
    "postgres_worker_password",
    "redis_password",
    "django_secret_key",
    "unused_secret_key",  # For commands that sign nothing. The settings require one.
)
SHARES = {
    "postgres": ("postgres_password",),
    "redis": ("redis.conf", "redis_password"),
    "roles": (
        "postgres_uri",
        "postgres_owner_password",
        "postgres_api_password",
        "postgres_worker_password",
        "redis_url",
        "unused_secret_key",
    ),
    "migrate": ("postgres_owner_uri", "redis_url", "unused_secret_key"),
    "matching": ("postgres_worker_uri", "redis_url", "unused_secret_key"),
    "web": ("postgres_api_uri", "redis_url", "django_secret_key"),
}


def make_secret_files(folder: Path) -> list[str]:
    """Make the missing files and return their names. Raises OSError."""
    kept = {name: _read_or_make_secret(folder / name) for name in KEPT}
    redis = kept["redis_password"]
    contents = {
        **kept,
        "postgres_uri": f"postgres://exchange:{kept['postgres_password']}@postgres:5432/exchange",
        **{
            f"postgres_{role}_uri": (
                f"postgres://exchange_{role}:{kept[f'postgres_{role}_password']}@postgres:5432/exchange"
            )
            for role in ("owner", "api", "worker")
        },
        "redis_url": f"redis://:{redis}@redis:6379/0",
        "redis.conf": f"requirepass {redis}",
    }
    missing = [name for name in contents if not (folder / name).exists()]
    for name in missing:
        _write_file(folder / name, contents[name])
    for service, names in SHARES.items():
        (folder / service).mkdir(exist_ok=True)
        for name in names:
            if not (folder / service / name).exists():
                _write_file(folder / service / name, contents[name])
                missing.append(f"{service}/{name}")
    return missing


def _read_or_make_secret(path: Path) -> str:
    """Return the secret in a file, or a new one.

    It has only letters, digits, - and _, so it is safe in a URL and in a configuration file.
    """
    return path.read_text().strip() if path.exists() else secrets.token_urlsafe(_PASSWORD_BYTES)


def _write_file(path: Path, text: str) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("w") as file:
        os.fchmod(file.fileno(), _MODE)
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m hosting.secret_files FOLDER")
    try:
        made = make_secret_files(Path(sys.argv[1]))
    except OSError as error:
        sys.exit(f"exchange: the secrets can't be written: {error.strerror}: {error.filename}")
    sys.stdout.write(f"secrets made: {', '.join(made) or 'none, all exist'}\n")
