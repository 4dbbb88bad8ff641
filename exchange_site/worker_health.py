"""The container's health check: does this machine's worker hold its partition or wait for it?

    python -m exchange_site.worker_health --partition 0

If it does either, the command prints which, and exits with status 0. Otherwise it prints the
problem, and exits with status 1. The lease and the worker's sessions are read from the database. A
session belongs to the worker if it comes from this machine and has the same role. The check costs a
start of Python without Django, and one connection.
"""

import sys
from argparse import ArgumentParser
from contextlib import closing

import psycopg

from exchange_site.environment import InvalidEnvironment, read_environment
from hosting.embedded.locations import Locations

_CONNECT_SECONDS_MAX = 3
_SILENT_SECONDS_MAX = 10.0  # A worker asks for the lease, or renews it, far more often.

# The application name of a session contains the worker's name: see matching/commit/checkpoint.py.
_SESSIONS = """
SELECT session.application_name = 'exchange-matching ' || held.owner AND held.lease_expires_at > clock_timestamp(),
  session.state = 'active' OR session.state_change > clock_timestamp() - make_interval(secs => %(silent)s)
FROM pg_stat_activity AS session LEFT JOIN matching_checkpoint AS held ON held.partition = %(partition)s
WHERE session.application_name LIKE 'exchange-matching %%' AND session.usename = current_user
  AND session.client_addr IS NOT DISTINCT FROM inet_client_addr()
"""


def worker_state(postgres_uri: str, partition: int) -> tuple[bool, str]:
    """Return whether a worker of this machine is well, and a description. Raises psycopg.Error."""
    connected = psycopg.connect(postgres_uri, connect_timeout=_CONNECT_SECONDS_MAX, autocommit=True)
    with closing(connected) as connection:
        rows = connection.execute(
            _SESSIONS, {"partition": partition, "silent": _SILENT_SECONDS_MAX}
        ).fetchall()
    if any(holds for holds, _ in rows):
        return True, f"holds partition {partition}"
    if any(talks for _, talks in rows):
        return True, f"waits for partition {partition}, which another worker holds"
    if rows:
        return False, f"has sent nothing to the database for {_SILENT_SECONDS_MAX:.0f} s"
    return False, "no matching worker of this machine is connected to the database"


def main() -> int:
    parser = ArgumentParser(prog="worker_health", description="Whether this machine's worker is well.")
    parser.add_argument("--partition", type=int, default=0)
    partition = parser.parse_args().partition
    try:
        environment = read_environment()
        well, words = worker_state(
            environment.postgres_uri or Locations(environment.data_dir).postgres_uri, partition
        )
    except (InvalidEnvironment, OSError) as error:
        well, words = False, str(error)
    except psycopg.Error as error:
        well, words = False, f"the database does not answer: {' '.join(str(error).split())}"
    sys.stdout.write(f"{words}\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
