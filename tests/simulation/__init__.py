"""The exchange in one process, on a clock that only moves when nobody has anything to do.

Worker, standby, gateway, desk, stream, publisher and mirror are the real ones. PostgreSQL and Redis are models of
what the exchange relies on, which tests/simulation/test_models.py holds against the real ones. Between every two
steps of any process a seeded source of faults may kill or freeze it, or take a server or a connection away;
afterwards the checks ask whether the promises were kept. One seed is one run, always the same.
"""
