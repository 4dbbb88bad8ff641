"""Breaks a real, running exchange on purpose, again and again, and holds it to its promises afterwards.

`python -m chaos` (`make chaos`) starts an exchange of its own, sends orders to it, kills, freezes and empties its
parts while it does, and then compares what clients were told with what the database has. `python -m
chaos.failover` measures how long the standby worker takes to take over.

The simulation in tests/simulation meets more interleavings in a second than this does in a day, but only of the
exchange's own code: here PostgreSQL, Valkey, the servers' processes and the system are the real ones. A seed
gives the same faults in the same order; when exactly they strike, the machine decides.
"""
