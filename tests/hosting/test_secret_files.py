"""The secrets of a deployment in containers: made once, kept, and shared as services need them."""

import stat
from pathlib import Path

import pytest

from exchange_site.environment import read_environment
from hosting.secret_files import KEPT, SHARES, make_secret_files
from tests.test_containers import ROLES, SECRETS, SERVICES


def test_secrets_are_made_once(tmp_path: Path) -> None:
    made = make_secret_files(tmp_path)
    contents = tree(tmp_path)
    assert contents.keys() == set(made)
    assert make_secret_files(tmp_path) == []
    assert tree(tmp_path) == contents


def tree(folder: Path) -> dict[str, str]:
    """Return the files below a folder, with their contents."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_missing_files_are_made_from_the_existing_secrets(tmp_path: Path) -> None:
    make_secret_files(tmp_path)
    before = tree(tmp_path)
    for name in ("postgres_uri", "redis.conf", "web/postgres_api_uri"):
        (tmp_path / name).unlink()
    assert sorted(make_secret_files(tmp_path)) == ["postgres_uri", "redis.conf", "web/postgres_api_uri"]
    assert tree(tmp_path) == before


def test_secrets_of_an_earlier_version_are_kept(tmp_path: Path) -> None:
    """That version had three secrets, and PostgreSQL keeps the password of its first start."""
    for name in ("postgres_password", "redis_password", "django_secret_key"):
        (tmp_path / name).write_text(f"{name}-of-an-earlier-version-which-stays\n")
    make_secret_files(tmp_path)
    made = tree(tmp_path)
    assert "postgres_password-of-an-earlier-version" in made["roles/postgres_uri"]
    assert "redis_password-of-an-earlier-version" in made["web/redis_url"]
    assert "django_secret_key-of-an-earlier-version" in made["web/django_secret_key"]


def test_every_deployment_has_its_own_secrets(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        make_secret_files(folder)
    for name in KEPT:
        assert len({(folder / name).read_text() for folder in folders}) == 2


def test_no_service_receives_the_secrets_of_another(tmp_path: Path) -> None:
    make_secret_files(tmp_path)
    passwords = {role: (tmp_path / f"postgres_{role}_password").read_text().strip() for role in ROLES}
    for service, role in {"migrate": "owner", "matching": "worker", "web": "api"}.items():
        text = "".join(tree(tmp_path / service).values())
        assert [other for other, password in passwords.items() if password in text] == [role]
        assert (tmp_path / "postgres_password").read_text().strip() not in text
    key = (tmp_path / "django_secret_key").read_text()
    assert {name for name in SHARES if key in tree(tmp_path / name).values()} == {"web"}


@pytest.mark.parametrize(("service", "role"), [("migrate", "owner"), ("matching", "worker"), ("web", "api")])
def test_each_service_reads_its_secrets_from_the_files(tmp_path: Path, service: str, role: str) -> None:
    make_secret_files(tmp_path)
    files = {
        name: str(tmp_path / value.removeprefix(f"{SECRETS}/"))
        for name, value in SERVICES[service]["environment"].items()
        if name.endswith("_FILE")
    }
    environment = read_environment(files)
    password = (tmp_path / f"postgres_{role}_password").read_text().strip()
    assert environment.postgres_uri == f"postgres://exchange_{role}:{password}@postgres:5432/exchange"
    assert not environment.embedded


def test_servers_with_users_of_their_own_can_read_the_secrets(tmp_path: Path) -> None:
    make_secret_files(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
