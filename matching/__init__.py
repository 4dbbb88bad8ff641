"""The matching worker: reads a partition's stream, matches in memory, commits in groups, then answers.

engine/ is pure; command_stream.py reads the stream, batch.py runs its commands through the books. ledger.py is
the worker's hold on the database: settlement.py is the one transaction of a batch, by statements.py, checkpoint.py
the position and the lease, recovery.py loads the books where the last worker stopped, placement.py keeps the
database session near. documents.py shapes orders, trades and levels for those who are told; mirror.py keeps the
book in Redis; publishing.py sends replies and market data. inspection.py compares the books with a live worker's,
audit/ holds everything that is stored against what is promised.
"""
