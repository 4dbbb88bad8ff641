"""The matching worker: reads a partition's stream, matches in memory, commits, then answers.

- worker.py: the loop of reading, matching, committing and publishing; lease_keeper.py: its lease
- command_stream.py: reads commands from Redis; batch.py: runs them through the books
- engine/: the order book, free of I/O
- ledger.py: the worker's access to the database, by way of settlement.py (the transaction of a
  batch), statements.py, checkpoint.py (position and lease), recovery.py (loads the books) and
  placement.py (keeps the database session on the worker's processors)
- publishing.py: sends replies and market data, which documents.py encodes; mirror.py: writes the
  books' mirrors in Redis
- inspection.py: compares books from the database with a live worker's; audit/: checks all stored
  data against the exchange's promises
"""
