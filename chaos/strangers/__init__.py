"""Strangers: clients that attack an exchange in different ways, one after the other.

`python -m chaos.strangers` starts an exchange of its own on loopback. An honest client trades on
it, while one attack at a time runs in another process. The report has the honest client's latencies
before, during and after each attack, and the memory of the largest process. The limits in
`verdict.py` decide whether the exchange has withstood the attack. Every attack is limited in
connections, bytes and time.
"""
