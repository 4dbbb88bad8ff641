"""The roles of a production database: an owner, the API processes and the matching workers.

| role | may |
|---|---|
| `exchange_owner` | owns database and tables: migrates, prunes, moves instruments. No superuser |
| `exchange_api` | reads all; writes instruments and Django's tables; adds to the audit trail |
| `exchange_worker` | writes all that it matches, and its checkpoint; reads instruments |

This module lists each right, table by table. An unlisted right is refused, so a test checks that
every model is listed. The same holds for functions, which PostgreSQL would let every role call.
Only the owner may delete an order, an event or a trade, or change a trade, an event or the audit
trail.
"""

from collections.abc import Mapping

from django.apps import apps
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import sql

OWNER, API, WORKER = "exchange_owner", "exchange_api", "exchange_worker"
ROLES = (OWNER, API, WORKER)

_NOTHING = ""
_READ = "SELECT"
_ADD = "SELECT, INSERT"
_WRITE = "SELECT, INSERT, UPDATE"
_EDIT = "SELECT, INSERT, UPDATE, DELETE"

# Table: rights of the API, rights of the worker.
RIGHTS: dict[str, tuple[str, str]] = {
    # the exchange's
    "instruments_instrument": (_EDIT, _READ),
    "orders_order": (_READ, _WRITE),
    "orders_trade": (_READ, _ADD),
    "orders_orderevent": (_READ, _ADD),
    "orders_cancelafter": (_READ, _EDIT),
    "orders_connectionguard": (_READ, _EDIT),
    "marketdata_candle": (_READ, _WRITE),
    "marketdata_booksequence": (_READ, _WRITE),
    "matching_prunedhistory": (_READ, _READ),
    "matching_checkpoint": (_READ, _WRITE),
    "matching_deferredcommand": (_READ, _EDIT),
    "operators_auditrecord": (_ADD, _NOTHING),
    # Django's, for the admin
    "auth_user": (_EDIT, _NOTHING),
    "auth_user_groups": (_EDIT, _NOTHING),
    "auth_user_user_permissions": (_EDIT, _NOTHING),
    "auth_group": (_EDIT, _NOTHING),
    "auth_group_permissions": (_EDIT, _NOTHING),
    "auth_permission": (_READ, _NOTHING),
    "django_admin_log": (_ADD, _NOTHING),
    "django_content_type": (_READ, _NOTHING),
    "django_migrations": (_READ, _READ),
    "django_session": (_EDIT, _NOTHING),
    # django-axes: wrong passwords
    "axes_accessattempt": (_EDIT, _NOTHING),
    "axes_accessattemptexpiration": (_EDIT, _NOTHING),
    "axes_accessfailurelog": (_EDIT, _NOTHING),
    "axes_accesslog": (_EDIT, _NOTHING),
}

# Functions, with the roles that may call them. A trigger needs no such right.
CALLS = {"operators_fence_partition(integer)": (API,), "operators_refuse_change()": ()}

# The exchange's own functions, without functions of extensions.
_FUNCTIONS = (
    "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')"
)


def unlisted_tables() -> set[str]:
    """Return the tables of installed apps that `RIGHTS` omits. Only the owner can use them."""
    return {model._meta.db_table for model in apps.get_models(include_auto_created=True)} - RIGHTS.keys()


def create_roles(passwords: Mapping[str, str]) -> list[str]:
    """Create the missing roles, set the given passwords, and make the owner own everything.

    Returns the names of the created roles. A role without a password can't log in by password.
    The caller must be a superuser, or a role with CREATEROLE that owns the database. Raises
    `django.db.Error`.
    """
    created = []
    with transaction.atomic(), connection.cursor() as cursor:
        for role in ROLES:
            name = sql.Identifier(role)
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [role])
            if not cursor.rowcount:
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
                created.append(role)
            if role in passwords:
                verifier = connection.connection.pgconn.encrypt_password(
                    passwords[role].encode(), role.encode(), b"scram-sha-256"
                )
                cursor.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(verifier.decode()))
                )
        _give_to_owner(cursor)
    return created


def grant_rights() -> None:
    """Give each role exactly the rights in `RIGHTS`. The owner runs it after each migration.

    Raises `django.db.Error`.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        present = {table for (table,) in cursor.fetchall()}
        both = sql.SQL("{}, {}").format(sql.Identifier(API), sql.Identifier(WORKER))
        for kind in ("TABLES", "SEQUENCES"):
            statement = sql.SQL("REVOKE ALL ON ALL {} IN SCHEMA public FROM {}")
            cursor.execute(statement.format(sql.SQL(kind), both))
        _grant_calls(cursor, both)
        cursor.execute(sql.SQL("REVOKE ALL ON SCHEMA public FROM {}").format(both))
        cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(both))
        for table, rights in RIGHTS.items():
            if table not in present:
                continue
            for role, right in zip((API, WORKER), rights, strict=True):
                if right:
                    statement = sql.SQL("GRANT {} ON {} TO {}")
                    names = sql.Identifier(table), sql.Identifier(role)
                    cursor.execute(statement.format(sql.SQL(right), *names))


def _grant_calls(cursor: CursorWrapper, both: sql.Composed) -> None:
    cursor.execute(_FUNCTIONS)
    for (function,) in cursor.fetchall():
        statement = sql.SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC, {}")
        cursor.execute(statement.format(sql.SQL(function), both))
        for role in CALLS.get(function, ()):
            statement = sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}")
            cursor.execute(statement.format(sql.SQL(function), sql.Identifier(role)))


def _give_to_owner(cursor: CursorWrapper) -> None:
    """Make the owner own the database and all its tables, sequences and functions."""
    execute = cursor.execute
    owner = sql.Identifier(OWNER)
    execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if not cursor.fetchone()[0]:
        # A role can give objects only to roles that it is a member of.
        execute(sql.SQL("GRANT {} TO CURRENT_USER").format(owner))
    execute("SELECT current_database()")
    (database,) = cursor.fetchone()
    execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), owner))
    execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner <> %s", [OWNER])
    for (table,) in cursor.fetchall():
        execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(sql.Identifier(table), owner))
    execute(f"{_FUNCTIONS} AND proowner <> %s::regrole", [OWNER])
    for (function,) in cursor.fetchall():
        execute(sql.SQL("ALTER FUNCTION {} OWNER TO {}").format(sql.SQL(function), owner))
    # Functions that the owner creates later are closed to others even before grant_rights runs.
    execute(
        sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC").format(owner)
    )
