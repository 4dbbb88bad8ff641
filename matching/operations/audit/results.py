"""The result of one check of the audit."""

from typing import NamedTuple

BREACHES_LISTED_MAX = 20  # for each check; further breaches are only counted


class CheckResult(NamedTuple):
    """A promise, its breaches, and the parts that could not be checked."""

    name: str
    promise: str
    seconds: float
    breaches: list[str]  # at most BREACHES_LISTED_MAX
    breach_count: int
    skipped: list[str]  # each part that could not be checked, and the reason

    @property
    def state(self) -> str:
        """The result in one or two words."""
        if self.breach_count:
            return f"{self.breach_count:,} {'breach' if self.breach_count == 1 else 'breaches'}"
        return "skipped" if self.skipped else "ok"
