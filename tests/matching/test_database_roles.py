"""The production roles on a real PostgreSQL: each role has its listed rights and no others."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql

from hosting.database_roles import API, CALLS, OWNER, RIGHTS, ROLES, WORKER, unlisted_tables
from hosting.embedded.postgres import SUPERUSER
from instruments.directory import TradedInstrument

STATEMENTS = {
    "SELECT": "SELECT FROM {table} LIMIT 1",
    "INSERT": "INSERT INTO {table} SELECT * FROM {table} WHERE false",
    "UPDATE": "UPDATE {table} SET {column} = {column} WHERE false",
    "DELETE": "DELETE FROM {table} WHERE false",
    "TRUNCATE": "TRUNCATE {table} CASCADE",
}


@pytest.fixture
def superuser(instruments: dict[str, TradedInstrument], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Django connect as the superuser, and drop the roles afterwards.

    PostgreSQL lets the user that runs the tests connect as the superuser.
    """
    owner = str(connection.settings_dict["USER"])
    if not connection.settings_dict["HOST"].startswith("/"):
        pytest.skip("the database is not the test run's own")
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "USER", SUPERUSER)
    yield
    with connection.cursor() as cursor:
        database = sql.Identifier(str(connection.settings_dict["NAME"]))
        cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, sql.Identifier(owner)))
        for role in ROLES:
            name = sql.Identifier(role)
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [role])
            if cursor.rowcount:
                cursor.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(name, sql.Identifier(owner)))
                cursor.execute(sql.SQL("DROP OWNED BY {}").format(name))
                cursor.execute(sql.SQL("DROP ROLE {}").format(name))
    connection.close()


@pytest.fixture
def roles(superuser: None, tmp_path: Path) -> dict[str, str]:
    """Create the roles and their rights with the two commands, and return the passwords."""
    passwords = {role: f"password-of-{role}" for role in ROLES}
    options = {}
    for option, role in {"owner": OWNER, "api": API, "worker": WORKER}.items():
        (tmp_path / option).write_text(f"{passwords[role]}\n")
        options[f"{option}_password_file"] = tmp_path / option
    call_command("create_roles", **options)
    call_command("grant_rights")
    return passwords


def connect(role: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
    settings = connection.settings_dict
    return psycopg.connect(
        host=settings["HOST"],
        port=settings["PORT"],
        dbname=settings["NAME"],
        user=role,
        password=password,
        autocommit=True,
    )


def test_every_table_of_every_app_is_listed() -> None:
    assert unlisted_tables() == set()


@pytest.mark.parametrize("role", [API, WORKER])
def test_a_role_has_each_listed_right_and_no_other(roles: dict[str, str], role: str) -> None:
    with connect(OWNER, roles[OWNER]) as owner:
        columns = [
            (str(table), str(column))
            for table, column in owner.execute(
                "SELECT DISTINCT ON (table_name) table_name::text, column_name::text"
                " FROM information_schema.columns"
                " WHERE table_schema = 'public' AND is_identity = 'NO' AND is_generated = 'NEVER'"
                " ORDER BY table_name, ordinal_position DESC"
            )
        ]
    index = (API, WORKER).index(role)
    tried = 0
    with connect(role, roles[role]) as session:
        for table, column in columns:
            rights = RIGHTS[table][index]
            for right, text in STATEMENTS.items():
                statement = sql.SQL(text).format(table=sql.Identifier(table), column=sql.Identifier(column))
                if right in rights.split(", "):
                    session.execute(statement)
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        session.execute(statement)
                tried += 1
    assert tried >= 15 * len(STATEMENTS)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO '/tmp/exchange-test-of-roles'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "CREATE ROLE another",
        "CREATE DATABASE another",
        "ALTER SYSTEM SET fsync = off",
    ],
)
def test_no_role_reaches_beyond_its_database(roles: dict[str, str], role: str, statement: str) -> None:
    with connect(role, roles[role]) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(statement)


@pytest.mark.parametrize("role", [API, WORKER])
def test_only_the_owner_creates_tables_and_other_roles_cannot_read_new_ones(
    roles: dict[str, str], role: str
) -> None:
    with connect(role, roles[role]) as session:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE TABLE mine (x int)")
        with connect(OWNER, roles[OWNER]) as owner:
            owner.execute("CREATE TABLE new_one (x int)")
            try:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute("SELECT FROM new_one")
            finally:
                owner.execute("DROP TABLE new_one")


def callable_functions(session: psycopg.Connection[tuple[object, ...]], role: str) -> dict[str, bool]:
    """Return for each function of the exchange whether the role may call it."""
    rows = session.execute(
        "SELECT oid::regprocedure::text, has_function_privilege(%s, oid, 'EXECUTE') FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace",
        [role],
    )
    return {str(name): bool(may) for name, may in rows}


@pytest.mark.parametrize("role", [API, WORKER, "pg_monitor"])
def test_each_function_may_be_called_only_by_its_listed_roles(roles: dict[str, str], role: str) -> None:
    """PostgreSQL lets every role call a new function, which may run with its owner's rights."""
    with connect(OWNER, roles[OWNER]) as owner:
        owner.execute("CREATE FUNCTION new_one() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
        try:
            found = callable_functions(owner, role)
            assert found.pop("new_one()") is False
        finally:
            owner.execute("DROP FUNCTION new_one()")
    assert found == {name: role in callers for name, callers in CALLS.items()}


def test_repeating_the_commands_revokes_rights_that_were_granted_by_hand(roles: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("GRANT DELETE ON orders_order TO {}").format(sql.Identifier(API)))
    call_command("create_roles")  # keeps the passwords, because it gets no files
    call_command("grant_rights")
    with connect(API, roles[API]) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("DELETE FROM orders_order WHERE false")


def test_a_wrong_password_is_refused(roles: dict[str, str]) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(WORKER, "another")


def test_a_user_that_may_not_create_roles_is_told_to_name_a_superuser(
    instruments: dict[str, TradedInstrument],
) -> None:
    with pytest.raises(CommandError, match="must name a superuser"):
        call_command("create_roles")


def test_an_empty_password_is_refused(superuser: None, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(CommandError, match="is empty"):
        call_command("create_roles", api_password_file=tmp_path / "empty")


def test_the_api_may_fence_a_partition_but_not_write_its_checkpoint(roles: dict[str, str]) -> None:
    """An operator's move or deletion of an instrument in the admin fences its partition."""
    with connect(WORKER, roles[WORKER]) as worker:
        worker.execute(
            "INSERT INTO matching_checkpoint (partition, position, epoch, owner, lease_expires_at)"
            " VALUES (0, '0-0', 7, 'worker', now())"
        )
    with connect(API, roles[API]) as api:
        answers = [
            api.execute("SELECT operators_fence_partition(%s)", [partition]).fetchone()
            for partition in (0, 1)
        ]
        assert answers == [(True,), (False,)]
        assert api.execute("SELECT epoch FROM matching_checkpoint").fetchall() == [(8,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            api.execute("UPDATE matching_checkpoint SET epoch = 9")
