"""The matching worker: reads a partition's stream, matches in memory, commits, then answers.

- worker/: the main loop, the lease, the command stream, running batches
- publish/: mirrors of the books, replies, market data
- commit/: the lease, and the statement that writes a batch with its position
- recovery.py: loads the books from the database
- batch/: runs commands through the books and collects their effects, without I/O
- engine/: the order book
- operations/: comparing books, audit, pruning; management/ has the commands

docs/architecture.md says which of these may import which.
"""
