"""Benchmarks that anyone can repeat. Each is a command, `python -m benchmarks.<name>`."""
