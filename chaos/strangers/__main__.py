"""`python -m chaos.strangers --seconds 12`: exits with 1 if an attack hurt the honest client."""

import asyncio
import signal
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from chaos.parts import MANAGE_PY
from chaos.stage import INTERRUPTED, RESULTS
from chaos.strangers.attacks import ATTACKS
from chaos.strangers.campaign import SHORT_PLAN, attack_all, full_plan
from chaos.strangers.prepare import NotPrepared
from chaos.strangers.report import print_report, save
from hosting.embedded.privileges import child_setup
from loadtools.arguments import whole_number
from loadtools.exchange import StartError, own_exchange
from loadtools.progress import progress_bar

SECONDS_MAX = 600
REPORT_COLUMNS = 180


def main() -> int:
    parser = ArgumentParser(
        prog="chaos.strangers",
        description="Try to stop an exchange for its other clients, in every known way.",
    )
    parser.add_argument(
        "--seconds", type=whole_number(1, SECONDS_MAX), default=12, help="of each attack (default: 12)"
    )
    parser.add_argument(
        "--percent", type=whole_number(1, 100), default=100, help="size of the attacks (default: 100)"
    )
    parser.add_argument(
        "--short", action="store_true", help="a second of each, a tenth of its size; latencies do not count"
    )
    parser.add_argument("--only", default="", help="attacks with this text in their names (default: all)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of reports (default: results)")
    parser.add_argument("--server", choices=("uvicorn", "daphne"), default="uvicorn")
    options = parser.parse_args()
    attacks = [attack for attack in ATTACKS if options.only in attack.name]
    if not attacks:
        parser.error(f"--only must be a part of one of: {'; '.join(attack.name for attack in ATTACKS)}")
    plan = SHORT_PLAN if options.short else full_plan(options.seconds, options.percent / 100)
    folder = options.results / f"strangers-{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}"
    prepare_child = child_setup(account=None, death_signal=signal.SIGTERM)
    variables = {"EXCHANGE_BIND": "127.0.0.1", "EXCHANGE_ASGI_SERVER": options.server}
    try:
        with (
            own_exchange(MANAGE_PY, prepare_child, variables) as exchange,
            progress_bar("strangers", len(attacks)) as bar,
        ):
            results = asyncio.run(
                attack_all(exchange, attacks, plan, note=lambda text, done: bar.finish(done, text))
            )
            bar.finish(len(attacks))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "serve.log").write_bytes(exchange.log.read_bytes())
    except (StartError, NotPrepared, ConnectionError) as error:
        sys.stderr.write(f"strangers: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("strangers: interrupted\n")
        return INTERRUPTED
    print_report(results, Console(width=REPORT_COLUMNS), timed=plan.timed)
    save(results, folder, timed=plan.timed)
    sys.stdout.write(f"saved in {folder}\n")
    return 1 if any(result.breaches(timed=plan.timed) for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
