"""Strangers: clients that try to stop an exchange for everyone else, one way after the other.

`python -m chaos.strangers` starts an exchange of its own on loopback, lets an honest client trade on
it, and runs one attack at a time in a process of its own. The report has the honest client's
latencies before, during and after each attack, and the memory of each process. The bounds in
`verdict.py` decide whether the exchange has withstood it. Every attack is bounded in connections,
bytes and time.
"""
