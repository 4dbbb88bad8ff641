"""Tests of a whole exchange. Its real processes are started, killed and started again."""
