"""A partition's lease and position, which are one row of the database.

All times are the database's, so no worker's clock decides who may write. A worker that froze in the
middle of a commit would keep its lock on the checkpoint's row for ever. So each worker puts its
name into the database session with which it commits. A worker that finds the lease expired
terminates the old owner's session and then takes over. It never waits for the row's lock: if the
lease expires between these two steps, the next attempt terminates the session.

A commit may take longer than the lease, and the lease can't be renewed meanwhile. So no other
worker takes over while the database executes the batch's statement, for at most
WORKER_STATEMENT_SECONDS_MAX. If a lease ends later than is possible, the database's clock was set
back after the lease was taken: such a lease counts as expired.
"""

from typing import NamedTuple

from django.conf import settings
from django.db import connection


class LeaseLost(Exception):
    """Another worker owns the partition now. Nothing was written."""


class Lease(NamedTuple):
    """A worker's right to write a partition, and the position that the worker has reached."""

    partition: int
    owner: str
    epoch: int
    position: str

    def __str__(self) -> str:
        return f"partition={self.partition} epoch={self.epoch} position={self.position}"


# Inserts nothing if the row exists. With ON CONFLICT alone, it would wait for the row's lock.
_CREATE = """
INSERT INTO matching_checkpoint (partition, position, epoch, owner, lease_expires_at)
SELECT %(partition)s, '0-0', 0, '', %(now)s
WHERE NOT EXISTS (SELECT FROM matching_checkpoint WHERE partition = %(partition)s)
ON CONFLICT (partition) DO NOTHING
"""
_NAME_SESSION = "SELECT set_config('application_name', 'exchange-matching ' || %s, false), clock_timestamp()"
# A session that waits for its client does not count as executing, even inside a statement.
_IS_FREE = """
(held.lease_expires_at <= %(now)s
  OR held.lease_expires_at > clock_timestamp() + 2 * make_interval(secs => %(lease)s))
AND NOT EXISTS (
  SELECT FROM pg_stat_activity AS session
  WHERE session.application_name = 'exchange-matching ' || held.owner AND session.state = 'active'
    AND session.wait_event_type IS DISTINCT FROM 'Client'
    AND session.query_start BETWEEN clock_timestamp() - make_interval(secs => %(statement)s) AND clock_timestamp()
)
"""
_TERMINATE_OLD_SESSION = f"""
SELECT pg_terminate_backend(session.pid)
FROM matching_checkpoint AS held
JOIN pg_stat_activity AS session ON session.application_name = 'exchange-matching ' || held.owner
WHERE held.partition = %(partition)s AND held.owner <> %(owner)s AND {_IS_FREE}
"""  # noqa: S608 - joined from constants only
_ACQUIRE = f"""
UPDATE matching_checkpoint
SET epoch = epoch + 1, owner = %(owner)s, lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE partition = (
  SELECT held.partition FROM matching_checkpoint AS held
  WHERE held.partition = %(partition)s AND (held.owner = %(owner)s OR {_IS_FREE})
  FOR UPDATE SKIP LOCKED
)
RETURNING epoch, position
"""  # noqa: S608
ADVANCE = """
UPDATE matching_checkpoint
SET position = %(next)s, lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE partition = %(partition)s AND epoch = %(epoch)s AND position = %(position)s
"""
IS_HELD = """
SELECT 1 FROM matching_checkpoint
WHERE partition = %(partition)s AND epoch = %(epoch)s AND position = %(position)s
"""
_RELEASE = """
UPDATE matching_checkpoint SET lease_expires_at = clock_timestamp()
WHERE partition = %(partition)s AND epoch = %(epoch)s
"""


def acquire(partition: int, owner: str) -> Lease | None:
    """Take the lease, with a new epoch; returns None while another worker holds it.

    Call it outside a transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(_NAME_SESSION, [owner])
        _, now = cursor.fetchone()
        parameters = {
            "partition": partition,
            "owner": owner,
            "now": now,
            "lease": settings.WORKER_LEASE_SECONDS,
            "statement": settings.WORKER_STATEMENT_SECONDS_MAX,
        }
        cursor.execute(_TERMINATE_OLD_SESSION, parameters)
        cursor.execute(_CREATE, parameters)
        cursor.execute(_ACQUIRE, parameters)
        row = cursor.fetchone()
    return None if row is None else Lease(partition, owner, epoch=row[0], position=row[1])


def advance(lease: Lease, position: str) -> Lease:
    """Move the position, or keep it, and renew the lease. Raises LeaseLost."""
    with connection.cursor() as cursor:
        cursor.execute(ADVANCE, advance_parameters(lease, position))
        if cursor.rowcount != 1:
            raise LeaseLost(str(lease))
    return lease._replace(position=position)


def advance_parameters(lease: Lease, position: str) -> dict[str, str | int | float]:
    """Return the parameters of `ADVANCE`."""
    return {**lease_parameters(lease), "next": position, "lease": settings.WORKER_LEASE_SECONDS}


def lease_parameters(lease: Lease) -> dict[str, str | int]:
    """Return the parameters of `IS_HELD`."""
    return {"partition": lease.partition, "epoch": lease.epoch, "position": lease.position}


def release(lease: Lease) -> None:
    """End the lease now, so that a standby worker need not wait until it expires."""
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, {"partition": lease.partition, "epoch": lease.epoch})
