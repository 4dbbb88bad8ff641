"""The commit's parts for the table of dead man's switches."""

from matching.batch.batch import Batch
from matching.commit.rows import Row

UPSERT = """
  INSERT INTO orders_cancelafter AS switch (partition, client_id, cancel_at)
  SELECT %(partition)s::smallint, armed.*
  FROM json_to_recordset(%(armed)s) AS armed (client_id text, cancel_at timestamptz)
  ON CONFLICT (partition, client_id) DO UPDATE SET cancel_at = excluded.cancel_at
"""
DELETE = """
  DELETE FROM orders_cancelafter WHERE partition = %(partition)s::smallint AND client_id = ANY(%(disarmed)s::text[])
"""


def armed_rows(batch: Batch) -> list[Row]:
    """Return the switches to set."""
    return [
        {"client_id": client_id, "cancel_at": cancel_at}
        for client_id, cancel_at in batch.switches.items()
        if cancel_at is not None
    ]


def disarmed(batch: Batch) -> list[str]:
    """Return the clients whose switches to delete."""
    return [client_id for client_id, cancel_at in batch.switches.items() if cancel_at is None]
