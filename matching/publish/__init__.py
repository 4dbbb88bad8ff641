"""Publishes a committed batch: updates the mirrors, sends replies and market data."""
