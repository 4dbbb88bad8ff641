"""Runs the exchange on a machine: embedded servers, supervisor, ASGI server, accounts and roles."""
