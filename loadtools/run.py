"""One run of a load test: its orders, its acknowledgements and its report."""

import itertools
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

from loadtools.durability import Acknowledged
from loadtools.generator import LoadGenerator, LoadResult, Plan
from loadtools.latency import PERCENTILES, Latencies, percentile_name
from loadtools.mix import DEFAULT_MARKET, order_bodies, parse_market
from loadtools.wire import Response, Target, encode_post

# Requests that are encoded before the run; they take 80 MB. Further ones are encoded during the
# run, which takes 3 microseconds each.
_PREPARED_REQUESTS_MAX = 200_000
_BUSY_SHARE = 0.9
ORDER_ID = re.compile(rb'"order_id"\s*:\s*"([0-9a-fA-F-]{36})"')
ERROR_CODE = re.compile(rb'"code"\s*:\s*"([a-z_]{1,40})"')


@dataclass(frozen=True, slots=True)
class LoadRun:
    """The results of a run. `servers_processor_seconds` is None if it is not known."""

    target: Target
    plan: Plan
    outcome: LoadResult
    latencies: Latencies
    acknowledged: Acknowledged
    servers_processor_seconds: float | None

    @property
    def achieved_per_second(self) -> float:
        return self.outcome.right / self.outcome.elapsed_seconds

    @property
    def generator_share(self) -> float:
        """The share of one core that the generator used."""
        return self.outcome.processor_seconds / self.outcome.elapsed_seconds

    def report(self) -> list[str]:
        """Return the lines to print."""
        outcome, elapsed = self.outcome, self.outcome.elapsed_seconds
        answered = f"{outcome.right:,} of {outcome.requests:,} in {elapsed:.1f} s"
        offered = f"offered {self.plan.rate_per_second:,.0f} orders/s, " if self.plan.rate_per_second else ""
        lines = [
            f"throughput   {offered}achieved {self.achieved_per_second:,.0f} orders/s"
            f" ({answered}, {self.plan.connections} connections)",
            f"errors       {outcome.errors.total():,}",
            *(f"             {count:,} x {kind}" for kind, count in outcome.errors.most_common()),
        ]
        if any(kind.startswith("429") for kind in outcome.errors):
            lines.append(
                "             The exchange limits its clients' rate. Start it without that limit:"
                f" EXCHANGE_RATE_LIMIT=off PORT={self.target.port} make run"
            )
        if outcome.right:
            shown = (f"{percentile_name(p)} {self.latencies.milliseconds_at(p):,.2f}" for p in PERCENTILES)
            since = "from due to answered" if self.plan.rate_per_second else "from sent to answered"
            lines.append(f"latency      {'  '.join(shown)}  (ms, {since})")
        own_seconds, servers_seconds = outcome.processor_seconds, self.servers_processor_seconds
        lines.append(
            f"generator    {own_seconds:.2f} s of processor time, {self.generator_share:.0%} of a core"
        )
        if self.generator_share > _BUSY_SHARE:
            lines.append("             the generator was at its limit: the exchange may be faster than this")
        if servers_seconds is not None:
            share = servers_seconds / elapsed
            lines.append(f"exchange     {servers_seconds:.2f} s of processor time, {share:.0%} of a core")
        return lines


class AcknowledgementJudge:
    """Accepts a 201 with an order's id, and keeps the id. Names others by status and code."""

    def __init__(self) -> None:
        self.acknowledged = Acknowledged()

    def __call__(self, response: Response) -> str | None:
        if response.status != 201:
            code = ERROR_CODE.search(response.body)
            return f"{response.status} {code[1].decode()}" if code else str(response.status)
        found = ORDER_ID.search(response.body)
        if found is None:
            return "201 without an order_id"
        try:
            self.acknowledged.add(found[1])
        except ValueError:
            return "201 with an order_id that is not a UUID"
        return None


def run_load(
    *,
    target: Target,
    plan: Plan,
    seed: int = 1,
    servers_processor_seconds: Callable[[], float | None] = lambda: None,
    on_progress: Callable[[LoadResult], None] = lambda outcome: None,
) -> LoadRun:
    """Send the mix of orders. Raises `ConnectError` if the target can't be reached."""
    # The keys must be new, because the exchange answers a known key with the old order.
    prefix = f"load-{secrets.token_hex(6)}"
    bodies = order_bodies(seed=seed, key_prefix=prefix, markets=[parse_market(DEFAULT_MARKET)])
    requests = (encode_post(target, "/orders", body) for body in bodies)
    prepared = list(itertools.islice(requests, min(plan.requests, _PREPARED_REQUESTS_MAX)))
    judge = AcknowledgementJudge()
    generator = LoadGenerator(target, plan, itertools.chain(prepared, requests), judge, on_progress)
    before = servers_processor_seconds()
    outcome = uvloop.run(generator.run())
    after = servers_processor_seconds()
    return LoadRun(
        target=target,
        plan=plan,
        outcome=outcome,
        latencies=Latencies(outcome.latencies_microseconds),
        acknowledged=judge.acknowledged,
        servers_processor_seconds=after - before if before is not None and after is not None else None,
    )
