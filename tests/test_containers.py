"""Dockerfile and docker-compose.yml: everything that they copy, start, read and wait for exists.

The test run has no container engine. These tests compare the files with each other and with the
code. `make containers` builds and runs them.
"""

import ast
import functools
import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands, load_command_class

from exchange_site.environment import Environment, read_environment
from hosting.secret_files import SHARES, make_secret_files

ROOT = Path(__file__).resolve().parents[1]
SECRETS = "/var/lib/exchange/secrets"
VARIABLES = {name.upper() for name in Environment.__struct_fields__}
PYTHON_VARIABLES = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}
OUR_PACKAGES = {
    *(
        "base",
        "web",
        "instruments",
        "orders",
        "marketdata",
        "streaming",
        "matching",
        "hosting",
        "operators",
        "exchange_site",
    ),
    "loadtools",
}

ROLES = ("owner", "api", "worker")

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Return the Dockerfile's instructions with their arguments, each on one line."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages() -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def arguments(name: str, stage: list[Instruction]) -> list[str]:
    return [rest for instruction, rest in stage if instruction == name]


def image_variables() -> dict[str, str]:
    return dict(word.split("=", 1) for text in arguments("ENV", stages()[-1]) for word in shlex.split(text))


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


SERVICES: dict[str, dict[str, Any]] = compose()["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)


def ignored(path: str) -> bool:
    """Return whether .dockerignore excludes the path, or a folder that it is in.

    The last pattern that matches decides. In a pattern, only two asterisks match a slash.
    """
    found = False
    parts = path.split("/")
    paths = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for line in (ROOT / ".dockerignore").read_text().split():
        pattern = wildcards(line.removeprefix("!").strip("/"))
        if any(pattern.fullmatch(each) for each in paths):
            found = not line.startswith("!")
    return found


@functools.cache
def wildcards(pattern: str) -> re.Pattern[str]:
    meanings = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(meanings.get(part, re.escape(part)) for part in parts))


def sources_in(path: str) -> list[str]:
    """Return the file itself, or all files of the folder but bytecode and the screen's sources."""
    if (ROOT / path).is_file():
        return [path]
    files = [file.relative_to(ROOT) for file in (ROOT / path).rglob("*") if file.is_file()]
    return [str(file) for file in files if {"__pycache__", "frontend"}.isdisjoint(file.parts)]


def programs(command: list[str]) -> list[list[str]]:
    """Return the programs that a command starts: itself, or the programs of its shell line."""
    if command[:2] == ["sh", "-c"]:
        return [shlex.split(part) for part in command[2].split("&&")]
    return [command]


def assert_can_start(program: list[str]) -> None:
    """Assert that this is a program of ours, which accepts the arguments."""
    assert program[0] == "python", program
    if program[1] == "manage.py":
        parser = load_command_class(get_commands()[program[2]], program[2]).create_parser(
            "manage.py", program[2]
        )
        parser.parse_args(program[3:])
    elif program[1] == "-m":
        assert importlib.util.find_spec(program[2]) is not None, program
    else:
        assert program[1] == "-c", program
        ast.parse(program[2])


# --- Dockerfile -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", stages(), ids=["build", "runtime"])
def test_copied_files_exist_and_are_not_ignored(stage: list[Instruction]) -> None:
    for text in arguments("COPY", stage):
        if "--from=" in text:
            continue
        *copied, _ = text.split()
        for path in copied:
            sources = sources_in(path)
            assert sources, path
            assert [source for source in sources if ignored(source)] == []


@pytest.mark.parametrize(
    "path", [".git/HEAD", ".data/secret-key", ".env", "base/__pycache__/redis.pyc", "base/redis.pyc"]
)
def test_secrets_and_caches_are_ignored(path: str) -> None:
    assert ignored(path)


def test_every_package_of_the_exchange_is_copied() -> None:
    copied = {text.split()[0] for text in arguments("COPY", stages()[-1])}
    assert copied >= OUR_PACKAGES | {"manage.py"}


def test_the_image_installs_pinned_packages_without_extras() -> None:
    (install,) = [text for text in arguments("RUN", stages()[0]) if "pip install" in text]
    assert "-c constraints.txt" in install
    assert install.split()[-1] == "."


def test_the_image_runs_the_api_as_an_ordinary_user() -> None:
    runtime = stages()[-1]
    assert arguments("USER", runtime) == ["10001:10001"]
    assert arguments("EXPOSE", runtime) == [str(Environment().port)]
    assert arguments("STOPSIGNAL", runtime) == ["SIGTERM"]
    (command,) = arguments("CMD", runtime)
    assert_can_start(json.loads(command))
    assert json.loads(command)[-1] == "run_api"
    names = [name for name, _ in runtime]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name in ("RUN", "COPY"))


def test_the_image_has_no_health_check() -> None:
    """Other services of the image have no HTTP: `docker compose up --wait` would wait in vain."""
    assert arguments("HEALTHCHECK", stages()[-1]) == []


def test_the_base_image_has_an_exact_and_supported_version() -> None:
    bases = {text.split()[0] for text in arguments("FROM", instructions())}
    (base,) = bases  # the build stage and the runtime stage have the same base
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-[a-z]+", base)
    assert version, base
    assert tuple(map(int, version[1].split("."))) >= (3, 11)


def test_the_image_has_the_bytecode_of_all_that_it_runs() -> None:
    """Containers can't write bytecode, so missing files would be compiled at each health check."""
    (first, second) = [text for text in arguments("RUN", stages()[-1]) if "compileall" in text]
    assert "stdlib" in first
    assert second.endswith("python -m compileall -q . /opt/venv/lib")
    assert "--no-compile" not in " ".join(arguments("RUN", stages()[0]))


def test_copied_files_are_readable_whatever_the_umask_of_the_checkout() -> None:
    runtime = stages()[-1]
    position = next(index for index, (_, text) in enumerate(runtime) if "chmod -R a+rX /app" in text)
    copies = [index for index, (name, _) in enumerate(runtime) if name == "COPY"]
    user = next(index for index, (name, _) in enumerate(runtime) if name == "USER")
    assert max(copies) < position < user


def test_the_image_sets_only_known_variables_and_no_secret() -> None:
    variables = image_variables()
    assert set(variables) <= VARIABLES | PYTHON_VARIABLES
    assert not any("SECRET" in name or "URI" in name or "URL" in name for name in variables)
    read_environment(variables)


# --- docker-compose.yml ---------------------------------------------------------------------------------------


def test_the_compose_file_has_these_services() -> None:
    assert set(SERVICES) == {"secrets", "postgres", "redis", "roles", "migrate", "matching", "web"}
    assert OURS == ["matching", "migrate", "roles", "secrets", "web"]


@pytest.mark.parametrize("name", OURS)
def test_commands_can_be_started(name: str) -> None:
    for program in programs(SERVICES[name]["command"]):
        assert_can_start(program)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_have_few_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == name if name in ("postgres", "redis") else service["init"] is True


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_have_resource_limits(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"] > 0
    assert service["pids_limit"] > 0
    assert service["logging"]["driver"] == "json-file"
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_our_services_share_one_built_image() -> None:
    assert {SERVICES[name]["image"] for name in OURS} == {"tradepost:local"}
    assert {SERVICES[name]["build"] for name in OURS} == {"."}


def test_server_images_have_exact_versions() -> None:
    for name in ("postgres", "redis"):
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+", SERVICES[name]["image"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_long_running_service_has_a_health_check_of_its_own(name: str) -> None:
    """If a check is disabled, `docker compose up --wait` ends with status 1."""
    if "restart" not in SERVICES[name]:
        assert "healthcheck" not in SERVICES[name]
        return
    check = SERVICES[name]["healthcheck"]
    assert "disable" not in check
    if name in OURS:
        assert check["test"][0] == "CMD"
        assert_can_start(check["test"][1:])


def test_the_workers_health_check_asks_about_its_own_partition() -> None:
    check = SERVICES["matching"]["healthcheck"]["test"]
    assert check[2:] == ["-m", "exchange_site.worker_health", "--partition", "0"]
    assert SERVICES["matching"]["command"][2:] == ["run_matching"]  # partition 0 is the default


def test_each_service_has_the_database_role_that_it_needs() -> None:
    files = {
        name: service.get("environment", {}).get("POSTGRES_URI_FILE") for name, service in SERVICES.items()
    }
    assert {name: file.rpartition("/")[2] for name, file in files.items() if file} == {
        "matching": "postgres_worker_uri",
        "migrate": "postgres_owner_uri",
        "roles": "postgres_uri",
        "web": "postgres_api_uri",
    }


def test_networks_are_declared_and_tmpfs_options_suit_podman() -> None:
    used = {network for service in SERVICES.values() for network in service.get("networks", [])}
    assert used == set(compose()["networks"])
    for volume in compose()["volumes"].values():
        options = (volume or {}).get("driver_opts", {}).get("o", "")
        assert not re.search(r"\bsize=", options)
    for service in SERVICES.values():
        assert not any("size=" in mount for mount in service.get("tmpfs", []))


@pytest.mark.parametrize("name", OURS)
def test_services_set_only_known_variables_and_fix_only_files(name: str) -> None:
    variables = SERVICES[name].get("environment", {})
    assert set(variables) <= VARIABLES
    for variable, value in variables.items():
        if value is not None:
            assert variable.endswith("_FILE"), "variables of operators are passed on, not fixed"


def test_every_secret_file_that_a_service_reads_is_made(tmp_path: Path) -> None:
    make_secret_files(tmp_path)
    text = (ROOT / "docker-compose.yml").read_text()
    named = set(re.findall(rf"{SECRETS}/([a-z_]+/[a-z_.]+)", text))
    assert named == {f"{service}/{name}" for service, names in SHARES.items() for name in names}
    for name in named:
        assert (tmp_path / name).read_text().strip()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_dependencies_wait_for_conditions_that_can_come_true(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        target = SERVICES[other]
        if how["condition"] == "service_healthy":
            assert "test" in target["healthcheck"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert "restart" not in target


def test_services_start_in_this_order() -> None:
    def before(name: str) -> set[str]:
        direct = set(SERVICES[name].get("depends_on", {}))
        return direct.union(*(before(other) for other in direct))

    assert before("postgres") == before("redis") == {"secrets"}
    assert before("roles") == {"secrets", "postgres", "redis"}
    assert before("migrate") == {"secrets", "postgres", "redis", "roles"}
    assert before("matching") == before("web") == {"secrets", "postgres", "redis", "roles", "migrate"}


def test_only_the_api_is_reachable_from_outside() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"web"}
    (port,) = SERVICES["web"]["ports"]
    assert port == "${EXCHANGE_BIND:-127.0.0.1}:${PORT:-8000}:8000"
    assert compose()["networks"]["servers"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "default" in service.get("networks", [])} == {"web"}
    assert SERVICES["secrets"]["network_mode"] == "none"
    # A service without networks would join the default network.
    assert all("networks" in service or "network_mode" in service for service in SERVICES.values())


def test_volumes_are_declared_and_used() -> None:
    used = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    assert used == set(compose()["volumes"])


def test_services_share_the_metrics_folder_and_have_separate_secrets() -> None:
    for name in ("roles", "migrate", "matching", "web"):
        assert f"metrics:{image_variables()['EXCHANGE_METRICS_DIR']}" in SERVICES[name]["volumes"]
    for name, service in SERVICES.items():
        mounts = {mount for mount in service.get("volumes", []) if mount.startswith("secrets")}
        if name == "secrets":
            own = {f"secrets_{other}:{SECRETS}/{other}" for other in SHARES}
            assert mounts == {f"secrets:{SECRETS}", *own}
        else:
            assert mounts == {f"secrets_{name}:{SECRETS}/{name}:ro"}


def test_redis_keeps_an_append_only_file_and_evicts_nothing() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"


def test_server_versions_meet_the_contract() -> None:
    versions = {name: re.match(r"[a-z]+:(\d+)", SERVICES[name]["image"]) for name in ("postgres", "redis")}
    numbers = {name: int(match[1]) for name, match in versions.items() if match}
    assert numbers["postgres"] >= 15
    assert numbers["redis"] >= 7
