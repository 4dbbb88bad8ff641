"""Tools that put load on an exchange: an open-loop HTTP generator, a mix of orders, fixtures.

They are clients: they know the public API and the orders table, and import nothing of the exchange. The
commands `load_test`, `create_fixtures` and `load_fixtures` and the benchmarks are thin shells around them.
They speak to loopback addresses only: none of this is meant for somebody else's server.
"""
