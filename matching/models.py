"""The position, lease and deferred commands of each partition, and the history that is not kept."""

from django.db import models

from instruments.models import Instrument


class Checkpoint(models.Model):
    """The stream position up to which everything is committed, and the lease of the worker.

    Each commit is a compare-and-set on epoch and position. So a worker that was frozen, cut off or
    replaced can't write any more, even if it does not know that it lost the lease.
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


class DeferredCommand(models.Model):
    """A command that has left the stream and waits for a chain of triggered orders."""

    partition = models.PositiveSmallIntegerField()
    number = models.BigIntegerField(help_text="grows in the order of arrival")
    payload = models.BinaryField(help_text="the command as in the stream")

    class Meta:
        constraints = [
            models.UniqueConstraint(name="number_of_deferred_command", fields=["partition", "number"]),
        ]

    def __str__(self) -> str:
        return f"{self.number} of partition {self.partition}"


class PrunedHistory(models.Model):
    """The sequence and time up to which `prune` may have deleted history.

    A made past is marked in the same way: it has candles, and nothing else of it was ever stored.
    """

    instrument = models.OneToOneField(
        Instrument, on_delete=models.PROTECT, primary_key=True, related_name="pruned_history"
    )
    sequence = models.BigIntegerField(help_text="the greatest sequence of a deleted order")
    time = models.DateTimeField(help_text="the latest change of a deleted order")

    class Meta:
        verbose_name_plural = "pruned history"

    def __str__(self) -> str:
        return f"{self.instrument} up to {self.sequence}"
