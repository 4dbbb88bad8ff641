"""Tests of the admin. They send a browser's requests to a running exchange."""
