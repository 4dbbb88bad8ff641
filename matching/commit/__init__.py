"""Writes a batch, its position and its lease to the database: one statement, one transaction.

statement.py joins a part for each table: checkpoint.py, orders.py, trades.py, candles.py and
sequences.py. session.py runs the statement, and looks idempotency keys up.
"""
