"""The promises that the exchange has broken."""

from collections import Counter
from enum import StrEnum

_LISTED_MAX = 100


class Kind(StrEnum):
    LOST = "lost"  # Acknowledged, but not in the database.
    DOUBLE = "double"  # One request placed two orders.
    CHANGED = "changed"  # In the database, but different from its acknowledgement.
    REFUSED = "refused"  # The answer said that the order was refused, but it was placed.
    ANSWER = "answer"  # An answer that the API does not allow at this point.
    UNRESOLVED = "unresolved"  # A request whose result could not be found out.
    STREAM = "stream"  # The stream and REST disagree.
    GUARD = "guard"  # An order has outlived its connection with cancel_on_disconnect.
    RECOVERY = "recovery"  # The exchange did not recover by itself.
    AUDIT = "audit"


class Breaches:
    """Counts breaches by kind, and lists the first _LISTED_MAX."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.listed: list[str] = []

    def add(self, kind: Kind, description: str) -> None:
        self.counts[kind] += 1
        if len(self.listed) < _LISTED_MAX:
            self.listed.append(f"{kind}: {description}")

    def __bool__(self) -> bool:
        return bool(self.counts)

    def summary(self) -> str:
        """Return one line with all counts."""
        lost, double = self.counts[Kind.LOST], self.counts[Kind.DOUBLE]
        audit = "broken" if self.counts[Kind.AUDIT] else "clean"
        line = f"{lost:,} acknowledged orders lost, {double:,} double, audit {audit}"
        others = [
            f"{count:,} {kind}"
            for kind, count in self.counts.items()
            if kind not in (Kind.LOST, Kind.DOUBLE, Kind.AUDIT)
        ]
        return ", ".join([line, *others])
