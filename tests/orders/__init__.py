"""Tests of orders from the client's side."""
