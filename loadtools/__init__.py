"""Tools that put load on an exchange: an open-loop HTTP generator, a mix of orders, fixtures.

They are clients. They know the public API and the orders table, and import nothing of the exchange.
The commands `load_test`, `create_fixtures` and `load_fixtures` and the benchmarks use them. They
connect only to loopback addresses, because they are not meant for other people's servers.
"""
