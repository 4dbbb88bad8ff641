"""A partition's position in its stream, and the lease of the worker that may write it."""

from django.db import models


class Checkpoint(models.Model):
    """The stream position up to which everything is committed, and the lease of the worker.

    Each commit is a compare-and-set on epoch and position. So a worker that was frozen, cut off or
    replaced can't write any more, even if it does not know.
    """

    partition = models.PositiveSmallIntegerField(primary_key=True)
    position = models.CharField(
        max_length=41, default="0-0", help_text="the id of the last entry that is done"
    )
    epoch = models.BigIntegerField(default=0, help_text="grows with each change of owner")
    owner = models.CharField(max_length=64, default="", blank=True)
    lease_expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"partition {self.partition} at {self.position}"
