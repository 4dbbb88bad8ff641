"""The steps of `serve` before the exchange is open: ports, servers, database, user, health."""

import contextlib
import errno
import http.client
import json
import logging
import os
import resource
import secrets
import socket
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection, connections
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor

from base.database import database_advice
from base.metrics_files import forget_counts
from hosting.embedded.privileges import LINUX
from hosting.embedded.processes import Pause, ProcessError, data_folder_errors
from instruments.defaults import load_default_instruments
from instruments.models import Instrument

logger = logging.getLogger(__name__)

ADMIN_NAME = "admin"
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def ensure_port_is_free() -> None:
    """Raise `ProcessError` if another process listens on PORT."""
    _ensure_free(
        settings.ENVIRONMENT.exchange_bind,
        settings.ENVIRONMENT.port,
        busy="Set PORT to a free one, as in PORT=8100 make run",
        otherwise="Set EXCHANGE_BIND to an address of this machine",
    )


def ensure_admin_port_is_free() -> None:
    """Raise `ProcessError` if EXCHANGE_ADMIN_BIND is set and can't be listened on."""
    bind = settings.ENVIRONMENT.admin_bind
    if bind is not None:
        remedy = "Set EXCHANGE_ADMIN_BIND to an address of this machine and a free port"
        _ensure_free(*bind, busy=remedy, otherwise=remedy)


def _ensure_free(host: str, port: int, *, busy: str, otherwise: str) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections that are closing do not make a port busy.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        remedy = busy if error.errno in (errno.EADDRINUSE, errno.EACCES) else otherwise
        raise ProcessError(f"port {port} of {host} can't be used: {error.strerror}. {remedy}.") from error


def worker_cpu() -> int | None:
    """Return the CPU for the worker, its database session and Valkey. None if the system chooses.

    Most of the time only one of them runs, and it reads what another has just written. A CPU is
    chosen automatically only if both servers are embedded. It is never the first one, which mostly
    handles the devices' interrupts. The data folder decides which, so two exchanges seldom share
    one. Raises `ProcessError` if EXCHANGE_WORKER_CPU names a CPU that can't be used.
    """
    wanted = settings.ENVIRONMENT.exchange_worker_cpu
    if wanted == "off":
        return None
    usable = sorted(os.sched_getaffinity(0)) if LINUX else []
    if wanted == "auto":
        environment = settings.ENVIRONMENT
        ours = environment.postgres_uri is None and environment.redis_url is None
        others = usable[1:]
        if not ours or not others:
            return None
        # Containers have different host names, but the same folder.
        place = f"{socket.gethostname()} {settings.LOCATIONS.data_dir}"
        return others[zlib.crc32(os.fsencode(place)) % len(others)]
    if int(wanted) in usable:
        return int(wanted)
    reason = "this process may not run on it" if LINUX else "only Linux can do that"
    raise ProcessError(f"EXCHANGE_WORKER_CPU={wanted} can't be used: {reason}. Set it to auto or off.")


def raise_open_files_limit() -> None:
    """Raise the limit of open files for the children. Each connection is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(settings.OPEN_FILES_MAX, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def clear_metrics() -> None:
    """Remove the metrics files of ended processes."""
    with data_folder_errors():
        forget_counts(Path(settings.ENVIRONMENT_METRICS_DIR))


def await_servers(pause: Pause) -> None:
    """Wait until PostgreSQL and Redis answer.

    Raises `ProcessError` after SERVERS_TIMEOUT_SECONDS.
    """
    _await_answer("PostgreSQL", "POSTGRES_URI", settings.POSTGRES_URI, connection.ensure_connection, pause)
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=settings.REDIS_TIMEOUT_SECONDS) as client:
        _await_answer("Redis", "REDIS_URL", settings.REDIS_URL, client.ping, pause)


def _await_answer(server: str, variable: str, url: str, ping: Callable[[], object], pause: Pause) -> None:
    deadline = time.monotonic() + settings.SERVERS_TIMEOUT_SECONDS
    is_logged = False
    while True:
        try:
            ping()
        except (OperationalError, redis.RedisError, OSError) as error:
            if time.monotonic() > deadline:
                parts = urlsplit(url)
                # The URL may have a password, so the message has only its host and port.
                where = f"{parts.hostname or parts.path}:{parts.port or 'default'}"
                reason = " ".join(str(error).split())
                raise ProcessError(
                    f"{server} at {where} does not answer: {reason}. See {variable}."
                ) from error
            if not is_logged:
                logger.info("waiting for %s", server)
                is_logged = True
            pause(settings.HEALTH_POLL_SECONDS)
        else:
            return


def prepare_database() -> None:
    """Migrate, and create the default instruments.

    Raises `ProcessError` if the database refuses, or has the data of an earlier, unreleased
    version.
    """
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            logger.info("creating or updating the tables, which takes some seconds")
            call_command("migrate", verbosity=0, interactive=False)
        load_default_instruments()
    except DatabaseError as error:
        reason = " ".join(str(error).split())
        raise ProcessError(f"the database could not be prepared: {reason}. See POSTGRES_URI.") from error
    except InconsistentMigrationHistory as error:
        raise ProcessError(database_advice(error)) from error
    finally:
        connections.close_all()


def partitions() -> list[int]:
    """Return the partitions that have instruments.

    Raises `ProcessError` if the database refuses.
    """
    try:
        found = Instrument.objects.order_by("partition").values_list("partition", flat=True).distinct()
        return list(found)
    except DatabaseError as error:
        reason = " ".join(str(error).split())
        raise ProcessError(f"the instruments can't be read: {reason}. See POSTGRES_URI.") from error
    finally:
        connections.close_all()


def create_first_admin() -> str | None:
    """Create an admin if the database has none. Return the password, or None.

    If the database refuses, this is logged, and the next start tries again.
    """
    try:
        users = get_user_model().objects
        if users.filter(is_superuser=True).exists():
            return None
        password = secrets.token_urlsafe(12)
        users.create_superuser(ADMIN_NAME, password=password)
        return password
    except DatabaseError as error:
        logger.warning("no admin was created, the next start tries again: %s", " ".join(str(error).split()))
        return None
    finally:
        connections.close_all()


class Problem(NamedTuple):
    """The reason why an exchange is not healthy."""

    text: str
    is_degraded: bool  # Whether some partitions take orders.


def health_problem() -> Problem | None:
    """Ask the exchange for its health. Return None if it is healthy, otherwise the problem."""
    host = ANY_ADDRESS.get(settings.ENVIRONMENT.exchange_bind, settings.ENVIRONMENT.exchange_bind)
    client = http.client.HTTPConnection(
        host, settings.ENVIRONMENT.port, timeout=settings.HEALTH_TIMEOUT_SECONDS
    )
    with contextlib.closing(client):
        try:
            client.request("GET", "/healthz", headers={"Host": _host_header()})
            answer = client.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            return Problem(f"the API does not answer ({error})", is_degraded=False)
    try:
        health = json.loads(body)
        status, checks = health["status"], health["checks"]
    except (ValueError, KeyError, TypeError):
        return Problem(f"GET /healthz answers {answer.status}", is_degraded=False)
    return None if status == "healthy" else Problem(json.dumps(checks), is_degraded=status == "degraded")


def admin_problem() -> Problem | None:
    """Return the problem of the admin's own listener. None without a listener or problem."""
    bind = settings.ENVIRONMENT.admin_bind
    if bind is None:
        return None
    try:
        with socket.create_connection(
            (ANY_ADDRESS.get(bind[0], bind[0]), bind[1]), settings.HEALTH_TIMEOUT_SECONDS
        ):
            return None
    except OSError as error:
        reason = error.strerror or error
        return Problem(f"the admin does not answer on EXCHANGE_ADMIN_BIND ({reason})", is_degraded=False)


def _host_header() -> str:
    """Return a host that EXCHANGE_ALLOWED_HOSTS allows."""
    named = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    return named[0] if named else "localhost"
