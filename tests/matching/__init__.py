"""Tests of the matching worker: its commit, lease and recovery, and the worker as a process."""
