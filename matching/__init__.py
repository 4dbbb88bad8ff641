"""The matching worker: reads a partition's stream, matches in memory, commits in groups, then answers.

engine/ is pure; books.py and batch.py run commands through it; settlement.py is the one transaction;
publishing.py tells everyone; recovery.py and checkpoint.py bring a worker back where the last one stopped.
"""
