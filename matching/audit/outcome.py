"""What a check found."""

from typing import NamedTuple

BREACHES_LISTED_MAX = 20  # of one check; the others are only counted


class Outcome(NamedTuple):
    """A promise, and whether it is kept: it is where nothing breaks it and nothing was skipped."""

    name: str
    promise: str
    seconds: float
    breaches: list[str]  # at most BREACHES_LISTED_MAX
    breach_count: int
    skipped: list[str]  # what could not be checked, and why

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.breach_count:
            return f"{self.breach_count:,} {'breach' if self.breach_count == 1 else 'breaches'}"
        return "skipped" if self.skipped else "ok"
