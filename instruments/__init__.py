"""Instruments: their grids and limits, each process's directory of them, and GET /instruments."""
