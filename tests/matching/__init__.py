"""Tests of the matching worker: commit, lease, recovery, and the worker as a process."""
