"""Tests of the admin, through a browser's requests to a running exchange."""
