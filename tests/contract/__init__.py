"""Tests of the exchange's contract with its clients, over HTTP and WebSocket."""
