"""The environment variables of the exchange: names, types and defaults.

`settings.py` reads them with `read_environment`. If a value is not allowed, the process ends with
one line that names the variable. `.env.example` lists all variables. A secret may be in a file, as
containers pass it: then the variable NAME_FILE has the file's path.
"""

import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hosting.embedded.kept_secrets import kept_secret
from hosting.embedded.locations import Locations

Network = IPv4Network | IPv6Network

_SWITCHED_ON = frozenset({"on", "true", "1", "yes"})
_SECONDS_PER_UNIT = {"sec": 1, "min": 60, "hour": 3600}
_SECRETS = ("postgres_uri", "redis_url", "django_secret_key")


def _whole_number(least: int, greatest: int) -> Meta:
    return Meta(ge=least, le=greatest, description=f"a whole number from {least} to {greatest}")


# Types that do not allow every text. Messages about a wrong value quote the description.
_PostgresUri = Annotated[
    str,
    Meta(pattern=r"^postgres(ql)?://", description="a URL such as postgres://user:password@host:5432/name"),
]
_RedisUrl = Annotated[
    str, Meta(pattern=r"^(redis|rediss|unix)://", description="a URL such as redis://host:6379/0")
]
RateLimit = Annotated[
    str,
    Meta(
        pattern=r"^(off|[1-9][0-9]{0,6}/(sec|min|hour))$",
        description="off, or a number per sec, min or hour such as 100/min",
    ),
]
_Switch = Annotated[
    Literal["on", "off", "true", "false", "1", "0", "yes", "no"], Meta(description="on or off")
]
_ProxyList = Annotated[
    str,
    Meta(
        pattern=r"^[0-9A-Fa-f:./, ]+$",
        description="addresses or networks, separated by commas, such as 10.0.0.7,10.1.0.0/16",
    ),
]
_AsgiServer = Annotated[Literal["uvicorn", "daphne"], Meta(description="uvicorn or daphne")]
_WorkerCpu = Annotated[
    str, Meta(pattern=r"^(auto|off|[0-9]{1,4})$", description="auto, off, or a CPU's number such as 1")
]
_LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"], Meta(description="DEBUG, INFO, WARNING or ERROR")
]
_ORIGIN = r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
_Origins = Annotated[
    str,
    Meta(
        pattern=rf"^ *{_ORIGIN}( *, *{_ORIGIN})* *$",
        description="origins of web pages such as https://app.example.com, in lower case, without a path,"
        " separated by commas",
    ),
]
_AdminBind = Annotated[
    str,
    Meta(
        pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$",
        description="an address and a port such as 127.0.0.1:8001",
    ),
]
_SecretKey = Annotated[str, Meta(min_length=32, description="at least 32 characters long")]


class InvalidEnvironment(ValueError):
    """A variable is missing or has an invalid value. The message names it and says what to do."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the variables. Each field has the variable's name in lower case."""

    port: Annotated[int, _whole_number(1, 65_535)] = 8000
    postgres_uri: _PostgresUri | None = None
    redis_url: _RedisUrl | None = None
    postgres_uri_file: str | None = None
    redis_url_file: str | None = None
    exchange_data_dir: str = ".data"
    # Memory of the embedded Valkey.
    exchange_valkey_megabytes: Annotated[int, _whole_number(32, 1_048_576)] = 256
    exchange_rate_limit: RateLimit = "100/min"
    exchange_bind: str = "127.0.0.1"
    exchange_admin_bind: _AdminBind | None = None
    exchange_allowed_hosts: str = "localhost,127.0.0.1,[::1]"
    exchange_cors_origins: _Origins | None = None
    exchange_tls_proxy: _Switch = "off"
    exchange_trusted_proxies: _ProxyList | None = None
    exchange_keep_alive_seconds: Annotated[int, _whole_number(1, 3_600)] = 75
    exchange_asgi_server: _AsgiServer = "uvicorn"
    exchange_api_processes: Annotated[int, _whole_number(1, 64)] = 1
    exchange_worker_cpu: _WorkerCpu = "auto"
    exchange_log_level: _LogLevel = "INFO"
    exchange_metrics_dir: str | None = None
    django_secret_key: _SecretKey | None = None
    django_secret_key_file: str | None = None
    django_debug: _Switch = "off"
    # Orders per second that load_test sends, and the seconds for which it sends them.
    target_rps: Annotated[int, _whole_number(1, 50_000)] = 2_000
    duration: Annotated[int, _whole_number(1, 86_400)] = 60

    @property
    def embedded(self) -> bool:
        """Whether the exchange starts PostgreSQL, Redis or both itself."""
        return self.postgres_uri is None or self.redis_url is None

    @property
    def debug(self) -> bool:
        return self.django_debug in _SWITCHED_ON

    @property
    def behind_tls_proxy(self) -> bool:
        """Whether clients connect through a TLS proxy, which sets X-Forwarded-Proto."""
        return self.exchange_tls_proxy in _SWITCHED_ON

    @property
    def trusted_proxies(self) -> list[Network]:
        """Networks of proxies. Their X-Forwarded-* headers are trusted.

        The limit of connections from one address does not apply to them. If clients connect through
        a TLS proxy and no proxy is named, the proxy is taken to run on this machine.
        """
        named = self.exchange_trusted_proxies
        if named is None and self.behind_tls_proxy:
            named = "127.0.0.0/8,::1"
        return [ip_network(each.strip()) for each in (named or "").split(",") if each.strip()]

    @property
    def data_dir(self) -> Path:
        return Path(self.exchange_data_dir).absolute()

    @property
    def admin_bind(self) -> tuple[str, int] | None:
        """The address and port of the admin's own listener. None if the admin is on PORT."""
        if self.exchange_admin_bind is None:
            return None
        host, _, port = self.exchange_admin_bind.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def rate_limit(self) -> tuple[int, int] | None:
        """How many orders a client may send in how many seconds. None if the limit is off."""
        if self.exchange_rate_limit == "off":
            return None
        count, unit = self.exchange_rate_limit.split("/")
        return int(count), _SECONDS_PER_UNIT[unit]

    @property
    def cors_origins(self) -> list[str]:
        """The origins as browsers send them: without the scheme's default port."""
        return [
            _without_default_port(origin.strip())
            for origin in (self.exchange_cors_origins or "").split(",")
            if origin.strip()
        ]

    @property
    def allowed_hosts(self) -> list[str]:
        return [host.strip() for host in self.exchange_allowed_hosts.split(",") if host.strip()]


def _without_default_port(origin: str) -> str:
    for scheme, port in (("http:", ":80"), ("https:", ":443")):
        if origin.startswith(scheme):
            return origin.removesuffix(port)
    return origin


_DEFAULTS = dict(zip(Environment.__struct_fields__, Environment.__struct_defaults__, strict=True))


def read_environment(variables: Mapping[str, str] = os.environ) -> Environment:
    """Read and check the variables. An empty variable counts as not set.

    Raises `InvalidEnvironment` with one line for the first value that is not allowed.
    """
    names = Environment.__struct_fields__
    values = {name: variables[name.upper()] for name in names if variables.get(name.upper())}
    for name in _SECRETS:
        if f"{name}_file" in values:
            if name in values:
                raise InvalidEnvironment(f"{name.upper()} and {name.upper()}_FILE are both set: remove one.")
            values[name] = _read_secret(f"{name}_file", values[f"{name}_file"])
    for name, value in values.items():
        try:
            if isinstance(_DEFAULTS[name], int) and not value.isdecimal():
                raise msgspec.ValidationError("msgspec itself would accept 8000.0 and 8e3")
            msgspec.convert({name: value}, Environment, strict=False)
        except msgspec.ValidationError:
            shown = "(hidden)" if name in _SECRETS else repr(value)
            raise InvalidEnvironment(
                f"{name.upper()}={shown} is not allowed: it must be {_description(name)}."
            ) from None
    environment = msgspec.convert(values, Environment, strict=False)
    _check_trusted_proxies(environment)
    _check_admin_bind(environment)
    return environment


def _check_trusted_proxies(environment: Environment) -> None:
    """Check that the addresses are valid. Raises `InvalidEnvironment`."""
    try:
        environment.trusted_proxies  # noqa: B018 - reading the property checks the value
    except ValueError as error:
        raise InvalidEnvironment(
            f"EXCHANGE_TRUSTED_PROXIES={environment.exchange_trusted_proxies!r} is not allowed: {error}. "
            f"It must be {_description('exchange_trusted_proxies')}."
        ) from None


def _check_admin_bind(environment: Environment) -> None:
    """Check that the port is valid and is not PORT. Raises `InvalidEnvironment`."""
    if environment.admin_bind is None:
        return
    _, port = environment.admin_bind
    if not 1 <= port <= 65_535:
        problem = "its port must be a whole number from 1 to 65535"
    elif port == environment.port:
        problem = f"its port must be different from PORT ({environment.port})"
    else:
        return
    raise InvalidEnvironment(
        f"EXCHANGE_ADMIN_BIND={environment.exchange_admin_bind!r} is not allowed: {problem}."
    )


def _description(name: str) -> str:
    """Return the allowed values of a variable, in words."""
    field = msgspec.json.schema(Environment)["$defs"]["Environment"]["properties"][name]
    kinds = field.get("anyOf", [field])  # An optional variable is a union with null.
    description: str = kinds[0]["description"]
    return description


def _read_secret(name: str, path: str) -> str:
    """Return the content of a file, which is one line. Raises `InvalidEnvironment`."""
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InvalidEnvironment(
            f"{name.upper()}={path!r} can't be read: {reason}. Name a file that this user may read."
        ) from None
    if not secret:
        raise InvalidEnvironment(f"{name.upper()}={path!r} is empty. Write the value into it, on one line.")
    return secret


def secret_key(environment: Environment) -> str:
    """Return the configured secret key, or in embedded mode a generated one.

    The generated key is kept in the data folder. Raises `InvalidEnvironment` if no key is set and
    neither server is embedded.
    """
    if environment.django_secret_key:
        return environment.django_secret_key
    if not environment.embedded:
        raise InvalidEnvironment(
            "DJANGO_SECRET_KEY is required when POSTGRES_URI and REDIS_URL are set. "
            'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
    locations = Locations(environment.data_dir)
    locations.make_data_dir()
    return kept_secret(locations.secret_key_file)
