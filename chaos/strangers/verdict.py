"""Decides whether an attack has hurt the honest client beyond the limits."""

from collections.abc import Sequence
from statistics import quantiles

import msgspec

from chaos.strangers.honest import Sample

_ORDER_P95_SECONDS_MAX = 0.25
_ORDER_P95_RATIO_MAX = 5.0  # Or this many times the value before the attack, if that is more.
_ALIVE_SECONDS_MAX = 1.0
CALM_AGAIN_SECONDS = 5.0  # Counted from the attack's end.
_CALM_AGAIN_RATIO_MAX = 2.0
_CALM_AGAIN_SECONDS_SLACK = 0.02  # In addition to the ratio, for noise.
_PROCESS_MIB_MAX = 600.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one attack. Times are in seconds. Memory is the largest process's, in MiB."""

    name: str
    limits: str
    p95_before: float
    p95_during: float
    p95_after: float
    cancels: int
    cancels_refused: dict[str, int]
    orders_refused: dict[str, int]
    alive_max: float
    subscribers_lost: int
    largest_process: str
    largest_mib: float
    attackers: dict[str, int]

    def breaches(self, *, timed: bool) -> list[str]:
        """Return the exceeded limits in words. Empty if the exchange has withstood the attack.

        Latencies count only if `timed`, because a slow machine must not fail a test.
        """
        return [*self._refusals(), *(self._delays() if timed else [])]

    def _refusals(self) -> list[str]:
        found = []
        if self.orders_refused:
            found.append(f"orders not placed: {self.orders_refused}")
        if self.cancels_refused or not self.cancels:
            found.append(f"cancels: {self.cancels} sent, {self.cancels_refused or 'none answered'}")
        if self.subscribers_lost:
            found.append(f"{self.subscribers_lost} subscribers were closed although they read")
        if self.largest_mib > _PROCESS_MIB_MAX:
            found.append(f"{self.largest_process} takes {self.largest_mib:.0f} MiB")
        return found

    def _delays(self) -> list[str]:
        found = []
        if self.p95_during > max(_ORDER_P95_SECONDS_MAX, _ORDER_P95_RATIO_MAX * self.p95_before):
            found.append(f"order p95 {self.p95_during * 1000:.0f} ms during the attack")
        if self.alive_max > _ALIVE_SECONDS_MAX:
            found.append(f"/livez took {self.alive_max:.2f} s")
        if self.p95_after > _CALM_AGAIN_RATIO_MAX * self.p95_before + _CALM_AGAIN_SECONDS_SLACK:
            found.append(
                f"order p95 {self.p95_after * 1000:.0f} ms, {CALM_AGAIN_SECONDS:.0f} s after the attack"
            )
        return found


def between(samples: Sequence[Sample], start: float, end: float) -> list[Sample]:
    """Return the samples that were due from `start` to `end`, by the event loop's clock."""
    return [sample for sample in samples if start <= sample.at < end]


def p95(samples: Sequence[Sample]) -> float:
    """Return the 95th percentile in seconds. Infinite if there are no samples."""
    seconds = [sample.seconds for sample in samples]
    if len(seconds) < 2:
        return seconds[0] if seconds else float("inf")
    return quantiles(seconds, n=20)[-1]


def refused(samples: Sequence[Sample], expected: str) -> dict[str, int]:
    """Count the samples with another status than expected, by status."""
    statuses = [sample.status for sample in samples if sample.status != expected]
    return {status: statuses.count(status) for status in dict.fromkeys(statuses)}
