"""Environment variables: their allowed values, and the error line of each wrong value."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from exchange_site.environment import Environment, InvalidEnvironment, read_environment, secret_key

ROOT = Path(__file__).resolve().parents[1]
FIELDS = {name.upper() for name in Environment.__struct_fields__}

WRONG = {
    "PORT": ["0", "65536", "http", "80.5", "8000.0", "8e3", "-1"],
    "POSTGRES_URI": ["mysql://localhost/exchange", "localhost:5432"],
    "REDIS_URL": ["http://localhost:6379", "localhost:6379"],
    "POSTGRES_URI_FILE": ["/dev/null/uri", "/dev/null"],
    "REDIS_URL_FILE": ["/dev/null/url", "/dev/null"],
    "EXCHANGE_DATA_DIR": ["/dev/null/data"],
    "EXCHANGE_RATE_LIMIT": ["100", "0/min", "100/day", "-5/sec", "none"],
    "EXCHANGE_ASGI_SERVER": ["granian", "Uvicorn"],
    "EXCHANGE_VALKEY_MEGABYTES": ["0", "31", "256mb", "1048577"],
    "EXCHANGE_API_PROCESSES": ["0", "65", "many"],
    "EXCHANGE_WORKER_CPU": ["-1", "first", "10000", "0,1"],
    "EXCHANGE_CORS_ORIGINS": [
        *("*", "null", "app.example.com", "https://", "https://*.example.com", "https://app.example.com/"),
        *("https://app.example.com/path", "ftp://app.example.com", "https://user@app.example.com"),
        *("https://App.example.com", "https://a.example https://b.example", "https://a.example,,"),
        *("https://a.example,*", "https://a.example:port", "https://a.example?x", "https://a.example#x"),
    ],
    "EXCHANGE_ADMIN_BIND": [
        "8001",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "::1:8001",
        "h/x:1",
        ":80",
    ],
    "EXCHANGE_TLS_PROXY": ["maybe", "2"],
    "EXCHANGE_TRUSTED_PROXIES": [
        "proxy",
        "10.0.0",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "::1::",
        "10.0.0.1;10.0.0.2",
    ],
    "EXCHANGE_KEEP_ALIVE_SECONDS": ["0", "3601", "1.5", "off"],
    "EXCHANGE_LOG_LEVEL": ["verbose", "info"],
    "EXCHANGE_METRICS_DIR": ["/dev/null/metrics"],
    "DJANGO_SECRET_KEY": ["too short"],
    "DJANGO_SECRET_KEY_FILE": ["/dev/null/key", "/dev/null"],
    "DJANGO_DEBUG": ["maybe", "2"],
    "TARGET_RPS": ["0", "50001", "fast"],
    "DURATION": ["0", "86401", "1m"],
}
# Variables with names of hosts. Only their use can show that a name is wrong.
ANY_TEXT = {"EXCHANGE_BIND", "EXCHANGE_ALLOWED_HOSTS"}


def start(variables: dict[str, str], data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Import the settings, as every command does, in a process with these variables."""
    kept = {name: value for name, value in os.environ.items() if name not in FIELDS}
    return subprocess.run(
        [sys.executable, "-c", "import exchange_site.settings"],
        cwd=ROOT,
        env={**kept, "EXCHANGE_DATA_DIR": str(data_dir), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


# Sets each variable alone in a fork of its own. The modules are imported before, to save time.
EACH_ALONE = """
import json, os, sys
import django.conf, django.urls, msgspec, prometheus_client, psycopg.conninfo
folder, variables = sys.argv[1], json.loads(sys.argv[2])
for name, value in variables.items():
    if not os.fork():
        for number in (1, 2):
            os.dup2(os.open(f"{folder}/{name}-{number}", os.O_WRONLY | os.O_CREAT), number)
        os.environ[name] = value
        import exchange_site.settings
        sys.exit()
    print(name, os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Return status, stdout and stderr of a process with the first wrong value of each variable."""
    folder = tmp_path_factory.mktemp("refusals")
    values = {name: wrong[0] for name, wrong in WRONG.items()}
    kept = {name: value for name, value in os.environ.items() if name not in FIELDS}
    finished = subprocess.run(
        [sys.executable, "-c", EACH_ALONE, str(folder), json.dumps(values)],
        cwd=ROOT,
        env={**kept, "EXCHANGE_DATA_DIR": str(folder / "data")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    statuses = dict(line.split() for line in finished.stdout.splitlines())
    return {
        name: (int(status), (folder / f"{name}-1").read_text(), (folder / f"{name}-2").read_text())
        for name, status in statuses.items()
    }


def test_every_variable_is_tested() -> None:
    assert set(WRONG) | ANY_TEXT == FIELDS


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_value_stops_the_start_with_one_line(
    name: str, refusals: dict[str, tuple[int, str, str]]
) -> None:
    status, stdout, stderr = refusals[name]
    assert (status, stdout) == (1, "")
    assert re.fullmatch(rf"exchange: .*{name}.*\n", stderr)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() if not name.endswith("_DIR") for value in values],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidEnvironment, match=name):
        read_environment({name: value})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "http", "a whole number from 1 to 65535"),
        ("POSTGRES_URI", "localhost", "a URL such as postgres://user:password@host:5432/name"),
        ("EXCHANGE_RATE_LIMIT", "100", "off, or a number per sec, min or hour such as 100/min"),
        ("EXCHANGE_LOG_LEVEL", "info", "DEBUG, INFO, WARNING or ERROR"),
    ],
)
def test_a_refusal_names_the_allowed_values(name: str, value: str, allowed: str) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        read_environment({name: value})
    assert str(refusal.value).endswith(f" is not allowed: it must be {allowed}.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_URI", "mysql://user:open-sesame@localhost/exchange"),
        ("REDIS_URL", "http://:open-sesame@localhost"),
        ("DJANGO_SECRET_KEY", "open-sesame"),
    ],
)
def test_a_refusal_does_not_show_secrets(name: str, value: str) -> None:
    with pytest.raises(InvalidEnvironment) as refusal:
        read_environment({name: value})
    assert "open-sesame" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_URI", "postgres://user:open-sesame@db/exchange"),
        ("REDIS_URL", "redis://:open-sesame@cache/0"),
        ("DJANGO_SECRET_KEY", "open-sesame" * 3),
    ],
)
def test_a_secret_can_be_read_from_a_file(name: str, value: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    environment = read_environment({f"{name}_FILE": str(file)})
    assert getattr(environment, name.lower()) == value
    with pytest.raises(InvalidEnvironment, match=f"{name} and {name}_FILE are both set"):
        read_environment({name: value, f"{name}_FILE": str(file)})


def test_a_wrong_value_in_a_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("mysql://user:open-sesame@localhost/exchange")
    with pytest.raises(InvalidEnvironment, match="POSTGRES_URI=") as refusal:
        read_environment({"POSTGRES_URI_FILE": str(file)})
    assert "open-sesame" not in str(refusal.value)


def test_an_empty_value_means_the_default() -> None:
    assert read_environment(dict.fromkeys(FIELDS, "")) == Environment()


def test_values_are_parsed() -> None:
    environment = read_environment(
        {
            "PORT": "8100",
            "EXCHANGE_RATE_LIMIT": "7/sec",
            "EXCHANGE_ALLOWED_HOSTS": "a.example, b.example",
            "DJANGO_DEBUG": "on",
        }
    )
    assert environment.port == 8100
    assert environment.rate_limit == (7, 1)
    assert environment.allowed_hosts == ["a.example", "b.example"]
    assert environment.debug


def test_without_embedded_servers_the_secret_key_is_required(tmp_path: Path) -> None:
    servers = {"POSTGRES_URI": "postgres://db/exchange", "REDIS_URL": "redis://cache/0"}
    outcome = start(servers, tmp_path)
    assert outcome.returncode == 1
    assert re.fullmatch(r"exchange: DJANGO_SECRET_KEY .*\n", outcome.stderr)
    assert start({**servers, "DJANGO_SECRET_KEY": "k" * 32}, tmp_path).returncode == 0


def test_the_embedded_secret_key_is_made_once_in_a_private_file(tmp_path: Path) -> None:
    environment = read_environment({"EXCHANGE_DATA_DIR": str(tmp_path / "data")})
    key = secret_key(environment)
    assert len(key) >= 32
    assert secret_key(environment) == key
    assert (tmp_path / "data" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_the_example_file_lists_every_variable() -> None:
    example = (ROOT / ".env.example").read_text()
    listed = re.findall(r"^#? ?([A-Z_]+)=", example, flags=re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == FIELDS


def test_the_example_file_shows_the_defaults() -> None:
    example = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, flags=re.MULTILINE))
    assert read_environment(shown) == Environment()
