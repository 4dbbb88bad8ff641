"""Injects faults into a real, running exchange, and then checks that it has kept its promises.

`python -m chaos` (`make chaos`) starts an exchange of its own and sends orders to it. Meanwhile it
kills, freezes and empties parts of the exchange. Then it compares the clients' answers with the
database. `python -m chaos.failover` measures how long a standby worker needs to take over.

The simulation in tests/simulation runs more interleavings in a second than this tool in a day, but
only of the exchange's own code. Here PostgreSQL, Valkey, all processes and the system are real. A
seed gives the same faults in the same order, but their exact times vary.
"""
