"""The commit's parts for the table of guards."""

from matching.batch.batch import Batch
from matching.commit.rows import Row

UPSERT = """
  INSERT INTO orders_connectionguard AS guard (partition, connection_id, process_id, client_ids)
  SELECT %(partition)s::smallint, kept.*
  FROM json_to_recordset(%(guards)s) AS kept (connection_id uuid, process_id text, client_ids text[])
  ON CONFLICT (partition, connection_id) DO UPDATE
  SET process_id = excluded.process_id, client_ids = excluded.client_ids
"""
DELETE = """
  DELETE FROM orders_connectionguard
  WHERE partition = %(partition)s::smallint AND connection_id = ANY(%(ended)s::uuid[])
"""


def kept_rows(batch: Batch) -> list[Row]:
    """Return the guards to set."""
    return [
        {
            "connection_id": connection_id,
            "process_id": guard.process_id,
            "client_ids": list(guard.client_ids),
        }
        for connection_id, guard in batch.guards.items()
        if guard is not None
    ]


def ended(batch: Batch) -> list[str]:
    """Return the connections whose guards to delete."""
    return [connection_id for connection_id, guard in batch.guards.items() if guard is None]
