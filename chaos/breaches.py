"""What was found broken."""

from collections import Counter
from enum import StrEnum

LISTED_MAX = 100


class Kind(StrEnum):
    LOST = "lost"  # acknowledged, and not in the database
    DOUBLE = "double"  # done twice
    CHANGED = "changed"  # in the database, but not as it was acknowledged
    REFUSED = "refused"  # told that it was not taken, and taken
    ANSWER = "answer"  # an answer that a client can't expect
    UNRESOLVED = "unresolved"  # nobody could tell what became of it
    STREAM = "stream"  # the stream told something else than REST
    RECOVERY = "recovery"  # the exchange did not come back by itself
    AUDIT = "audit"


class Breaches:
    """Counted by kind; the first LISTED_MAX are told one by one."""

    def __init__(self) -> None:
        self.counts: Counter[Kind] = Counter()
        self.listed: list[str] = []

    def add(self, kind: Kind, what: str) -> None:
        self.counts[kind] += 1
        if len(self.listed) < LISTED_MAX:
            self.listed.append(f"{kind}: {what}")

    def __bool__(self) -> bool:
        return bool(self.counts)

    def summary(self) -> str:
        """In one line."""
        lost, double = self.counts[Kind.LOST], self.counts[Kind.DOUBLE]
        audit = "broken" if self.counts[Kind.AUDIT] else "clean"
        line = f"{lost:,} acknowledged orders lost, {double:,} double, audit {audit}"
        others = [
            f"{count:,} {kind}"
            for kind, count in self.counts.items()
            if kind not in (Kind.LOST, Kind.DOUBLE, Kind.AUDIT)
        ]
        return ", ".join([line, *others])
