"""The commit's parts for the table of deferred commands."""

from matching.batch.batch import Batch
from matching.commit.rows import Row
from orders.messages import encode

INSERT = """
  INSERT INTO matching_deferredcommand (partition, number, payload)
  SELECT %(partition)s::smallint, command.number, decode(command.payload, 'base64')
  FROM json_to_recordset(%(deferred)s) AS command (number bigint, payload text)
"""
DELETE = """
  DELETE FROM matching_deferredcommand
  WHERE partition = %(partition)s::smallint AND number = ANY(%(resumed)s::bigint[])
"""


def rows(batch: Batch) -> list[Row]:
    """Return the commands to insert. The encoder writes bytes in Base64."""
    return [{"number": one.number, "payload": encode(one.command)} for one in batch.deferred]


def resumed(batch: Batch) -> list[str]:
    """Return the numbers of the commands to delete."""
    return [str(number) for number in batch.resumed]
