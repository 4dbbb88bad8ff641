"""Tests of the floor under the REST views."""
