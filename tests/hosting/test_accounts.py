"""Files whose owner root changes to the exchange's account, and files that it leaves alone."""

import os
import tempfile
from pathlib import Path

import pytest

from hosting.embedded.accounts import prepare_account, with_needed_capability
from hosting.embedded.kept_secrets import write_private
from hosting.embedded.locations import Locations
from hosting.embedded.privileges import Account

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of files")


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(tmp_path / "data")


def owner(path: Path) -> int:
    return path.lstat().st_uid


def prepare(locations: Locations, *folders: Path) -> Account:
    account = prepare_account(locations, *folders)
    assert account is not None
    return account


def test_only_metrics_files_change_owner_in_a_shared_metrics_folder(
    locations: Locations, tmp_path: Path
) -> None:
    """EXCHANGE_METRICS_DIR may be a folder that other software uses, such as /tmp."""
    shared = tmp_path / "shared"
    (shared / "another's" / "below").mkdir(parents=True)
    (shared / "gauge_folder.db").mkdir()
    (shared / "link.alive").symlink_to(tmp_path)
    others = ["README", "app.db", "another's", "another's/below", "gauge_folder.db", "link.alive"]
    counts = [".turn", "host-1-2f.alive", "counter_host-1-2f.db", "gauge_liveall_host-1-2f.db"]
    counts += ["histogram_merged.db", "counter_merged.new", "counter.journal", "counter.journal.new"]
    for name in ("README", "app.db", *counts):
        (shared / name).touch()
    account = prepare(locations, shared)
    assert {name: owner(shared / name) for name in others} == dict.fromkeys(others, 0)
    assert {name: owner(shared / name) for name in counts} == dict.fromkeys(counts, account.uid)
    assert owner(shared) == owner(tmp_path) == 0


def test_a_folder_with_metrics_files_alone_changes_owner(locations: Locations, tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    folder.mkdir()
    (folder / "counter_host-1-2f.db").touch()
    account = prepare(locations, folder)
    assert owner(folder) == account.uid


def test_a_system_file_that_is_linked_under_our_name_keeps_its_owner(
    locations: Locations, tmp_path: Path
) -> None:
    """The account's processes can make such hard links in its folder, if the system allows it."""
    prepare(locations)
    secret = tmp_path / "shadow"
    secret.touch()
    os.link(secret, locations.data_dir / "secret_key")
    with pytest.raises(PermissionError, match="two names"):
        prepare(locations)
    assert owner(secret) == 0


def test_root_does_not_write_through_a_link_to_a_folder_of_another_owner(
    locations: Locations, tmp_path: Path
) -> None:
    account = prepare(locations)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    locations.postgres_data.symlink_to(elsewhere)
    account.own(locations.postgres_data)
    prepare(locations)
    with pytest.raises(PermissionError, match="not a folder of user"):
        write_private(locations.postgres_data / "pg_hba.conf", "local all all trust", account)
    assert list(elsewhere.iterdir()) == []


def test_a_database_folder_behind_roots_own_link_changes_owner(locations: Locations, tmp_path: Path) -> None:
    """Root may keep the database on another disk. Only links that the account made are refused."""
    disk = tmp_path / "disk"
    (disk / "base").mkdir(parents=True)
    locations.make_data_dir()
    locations.postgres_data.symlink_to(disk)
    account = prepare(locations)
    assert {owner(path) for path in (disk, disk / "base")} == {account.uid}
    write_private(locations.postgres_data / "pg_hba.conf", "local all all trust", account)
    assert owner(disk / "pg_hba.conf") == account.uid


def test_the_closed_folder_behind_a_link_is_named() -> None:
    """Python in `.venv` is a link, often into /root. pytest's folder is closed itself."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        closed = top / "closed"
        (closed / "bin").mkdir(parents=True)
        closed.chmod(0o700)
        (closed / "bin" / "python").touch()
        link = top / "python"
        link.symlink_to(closed / "bin" / "python")
        account = with_needed_capability(Account("somebody", 54_321, 54_321), link)
    assert account is not None
    assert account.closed == closed
