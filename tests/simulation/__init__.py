"""The exchange in one process, on a clock that moves only when no task is ready to run.

Worker, standby, gateway, desk, stream, publisher and mirror are the real ones. PostgreSQL and Redis
are models, with the behaviour that the exchange relies on. test_database_model.py and
test_redis_model.py compare the models with the real servers. Between every two steps of a process, a
seeded source of faults may kill or freeze the process, or take a server or a connection away. At the
end, checks find out whether the promises were kept. One seed always gives the same run.
"""
