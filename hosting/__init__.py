"""Runs the exchange on a machine: embedded servers, supervisor, the ASGI server, accounts and roles."""
