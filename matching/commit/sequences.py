"""The commit's part for the table of book sequences."""

from matching.batch.batch import Batch
from matching.commit.rows import Row

UPSERT = """
  INSERT INTO marketdata_booksequence (instrument_id, sequence)
  SELECT * FROM json_to_recordset(%(books)s) AS book (instrument_id bigint, sequence bigint)
  ON CONFLICT (instrument_id) DO UPDATE SET sequence = excluded.sequence
"""


def rows(batch: Batch) -> list[Row]:
    """Return the sequence that each changed book has reached."""
    return [
        {"instrument_id": book.instrument.instrument_id, "sequence": book.sequence}
        for book in batch.books.values()
    ]
