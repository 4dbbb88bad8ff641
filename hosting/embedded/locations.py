"""Where the embedded servers keep their files and listen, and their passwords: all made from the data folder.

Both listen on unix sockets only, so no port can be taken and nobody else on the network can reach them. Both ask
for a password besides: it is made when an address is first asked for, and kept in a file that only its owner reads.
A socket's path may be 107 bytes long at most (`sun_path` in unix(7)); where the data folder's is too long,
the sockets live in a private folder under the system's temporary folder instead, named after the data folder.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from hosting.embedded.kept_secrets import kept_secret

SOCKET_PATH_BYTES_MAX = 107
POSTGRES_PORT = 5432  # names the socket's file only; nothing listens on TCP
POSTGRES_USER = "exchange"
POSTGRES_DATABASE = "exchange"
DATA_DIR_MODE = 0o700
# Everything that we put into a data folder.
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
    """Every path of the embedded servers, made from the absolute data folder."""

    data_dir: Path

    def make_data_dir(self) -> None:
        """Make the data folder, for its owner alone; one that is there keeps its mode. Raises OSError."""
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.data_dir.mkdir(mode=DATA_DIR_MODE, exist_ok=True)

    @property
    def postgres_data(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def valkey_data(self) -> Path:
        return self.data_dir / "valkey"

    @property
    def sockets(self) -> Path:
        """The folder of both sockets."""
        inside = self.data_dir / "sockets"
        longest = len(str(inside / f".s.PGSQL.{POSTGRES_PORT}.lock").encode())
        if longest <= SOCKET_PATH_BYTES_MAX:
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
