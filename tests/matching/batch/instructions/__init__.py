"""What instructions, amends and triggers do to the rows of orders.

Each test runs all commands in one batch, and each command in a batch of its own. The rows must be the
same: an order of the same batch is written once, an order of an earlier batch is changed by difference.
"""
