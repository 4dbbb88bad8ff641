"""The embedded servers' files, sockets and passwords. All are derived from the data folder.

Both servers listen only on unix sockets. So no port is needed, and the network can't reach them.
Both require a password. It is generated when an address is first needed, and kept in a file that
only its owner can read.

A socket's path may have at most 107 bytes (`sun_path` in unix(7)). If it would be longer, the
sockets are in a private folder in the system's temporary folder, which is named after the data
folder.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hosting.embedded.kept_secrets import kept_secret

_SOCKET_PATH_BYTES_MAX = 107
POSTGRES_PORT = 5432  # Only a part of the socket's name. Nothing listens on TCP.
POSTGRES_USER = "exchange"
POSTGRES_DATABASE = "exchange"
_DATA_DIR_MODE = 0o700
# The names of everything that the exchange puts into a data folder.
DATA_NAMES = frozenset(
    {
        "metrics",
        "postgres",
        "postgres.unfinished",
        "postgres_password",
        "secret_key",
        "serve.lock",
        "sockets",
        "valkey",
        "valkey_password",
    }
)


@dataclass(frozen=True)
class Locations:
    """All paths of the embedded servers. The data folder's path must be absolute."""

    data_dir: Path

    def make_data_dir(self) -> None:
        """Make the data folder, private to its owner.

        An existing one keeps its mode. Raises OSError.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.data_dir.mkdir(mode=_DATA_DIR_MODE, exist_ok=True)

    @property
    def postgres_data(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def valkey_data(self) -> Path:
        return self.data_dir / "valkey"

    @property
    def sockets(self) -> Path:
        """The folder that contains both sockets."""
        inside = self.data_dir / "sockets"
        longest = len(str(inside / f".s.PGSQL.{POSTGRES_PORT}.lock").encode())
        if longest <= _SOCKET_PATH_BYTES_MAX:
            return inside
        name = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"exchange-{name}"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def secret_key_file(self) -> Path:
        return self.data_dir / "secret_key"

    @property
    def postgres_password(self) -> str:
        """The password of POSTGRES_USER. Raises OSError if it can be neither read nor made."""
        return self._secret("postgres_password")

    @property
    def valkey_password(self) -> str:
        """Raises OSError if it can be neither read nor made."""
        return self._secret("valkey_password")

    @property
    def postgres_uri(self) -> str:
        """Raises OSError if the password can be neither read nor made."""
        host = quote(str(self.sockets), safe="")
        user = f"{POSTGRES_USER}:{self.postgres_password}"
        return f"postgresql://{user}@{host}:{POSTGRES_PORT}/{POSTGRES_DATABASE}"

    @property
    def redis_url(self) -> str:
        """Raises OSError if the password can be neither read nor made."""
        return f"unix://:{self.valkey_password}@{quote(str(self.valkey_socket))}?db=0"

    def _secret(self, name: str) -> str:
        self.make_data_dir()
        return kept_secret(self.data_dir / name)
