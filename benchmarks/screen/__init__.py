"""Measures the trading screen in a real Chromium: see `benchmarks/screen/__main__.py`."""
