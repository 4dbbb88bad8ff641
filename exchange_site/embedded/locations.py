"""Where the embedded servers keep their files and listen; a pure function of the data folder.

Both listen on unix sockets only, so no port can be taken and nobody else on the network can reach them.
A socket's path may be 107 bytes long at most (`sun_path` in unix(7)); where the data folder's is too long,
the sockets live in a private folder under the system's temporary folder instead, named after the data folder.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SOCKET_PATH_BYTES_MAX = 107
POSTGRES_PORT = 5432  # names the socket's file only; nothing listens on TCP
POSTGRES_USER = "exchange"
POSTGRES_DATABASE = "exchange"


@dataclass(frozen=True)
class Locations:
    """Every path of the embedded servers, made from the absolute data folder."""

    data_dir: Path

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
    def postgres_uri(self) -> str:
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{POSTGRES_USER}@{host}:{POSTGRES_PORT}/{POSTGRES_DATABASE}"

    @property
    def redis_url(self) -> str:
        return f"unix://{quote(str(self.valkey_socket))}?db=0"
