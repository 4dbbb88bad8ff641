"""Tells the world about a committed batch: mirrors of the books, replies, and market data."""
