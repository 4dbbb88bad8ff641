"""Tests of market data: the stream's parts, on a real Redis."""
