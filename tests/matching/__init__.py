"""Tests of the matching worker: settlement, lease, recovery, and the worker as a process."""
