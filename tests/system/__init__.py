"""Tests of the exchange as its users meet it: real processes, started, killed and started again."""
