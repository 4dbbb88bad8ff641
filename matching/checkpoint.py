"""The lease on a partition. All times are the database's: no worker's clock decides who may write.

An owner that froze in the middle of a commit holds the checkpoint's row, and would hold it for ever. So a worker
names its sessions after itself, and whoever finds its lease run out ends them before taking over. It never waits
for the row: an owner that came to be cut off between the two is cut off the next time.

A batch may take longer than the lease, which can't be renewed meanwhile: as long as the database works on it, and
not for longer than WORKER_STATEMENT_SECONDS_MAX, nobody takes over. A lease that ends later than any can comes from
a clock that was set back since: it counts as run out.
"""

from typing import NamedTuple

from django.conf import settings
from django.db import connection


class LeaseLost(Exception):
    """Another worker owns the partition now; nothing of this commit was written."""


class Lease(NamedTuple):
    """A worker's right to write a partition, and the position it has reached."""

    partition: int
    owner: str
    epoch: int
    position: str

    def __str__(self) -> str:
        return f"partition={self.partition} epoch={self.epoch} position={self.position}"


# Does not try where there is one: ON CONFLICT would wait for whoever is changing it.
_CREATE = """
INSERT INTO matching_checkpoint (partition, position, epoch, owner, lease_expires_at)
SELECT %(partition)s, '0-0', 0, '', %(now)s
WHERE NOT EXISTS (SELECT FROM matching_checkpoint WHERE partition = %(partition)s)
ON CONFLICT (partition) DO NOTHING
"""
_NAME_SESSION = "SELECT set_config('application_name', 'exchange-matching ' || %s, false), clock_timestamp()"
# A session that waits for its client is not at work, whatever it is in the middle of.
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
_CUT_OFF = f"""
SELECT pg_terminate_backend(session.pid)
FROM matching_checkpoint AS held
JOIN pg_stat_activity AS session ON session.application_name = 'exchange-matching ' || held.owner
WHERE held.partition = %(partition)s AND held.owner <> %(owner)s AND {_IS_FREE}
"""  # noqa: S608 - joined of statements of our own
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
    """The lease, with a new epoch; None while another worker holds it. Call it outside a transaction."""
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
        cursor.execute(_CUT_OFF, parameters)
        cursor.execute(_CREATE, parameters)
        cursor.execute(_ACQUIRE, parameters)
        row = cursor.fetchone()
    return None if row is None else Lease(partition, owner, epoch=row[0], position=row[1])


def advance(lease: Lease, position: str) -> Lease:
    """Move the position (or keep it) and renew the lease. Raises LeaseLost."""
    with connection.cursor() as cursor:
        cursor.execute(ADVANCE, advance_parameters(lease, position))
        if cursor.rowcount != 1:
            raise LeaseLost(str(lease))
    return lease._replace(position=position)


def advance_parameters(lease: Lease, position: str) -> dict[str, str | int | float]:
    """Of `ADVANCE`."""
    return {**lease_parameters(lease), "next": position, "lease": settings.WORKER_LEASE_SECONDS}


def lease_parameters(lease: Lease) -> dict[str, str | int]:
    """Of `IS_HELD`."""
    return {"partition": lease.partition, "epoch": lease.epoch, "position": lease.position}


def release(lease: Lease) -> None:
    """End the lease now, so that a standby need not wait for its expiry."""
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, {"partition": lease.partition, "epoch": lease.epoch})
