"""Guards: cancel a client's orders when its connection to /stream ends, however it ends.

Each partition keeps the guard of a connection in its worker and in the database. All commands that
the connection sends carry the guard's id. The guard ends in one of two ways:

- The API process sends END when the connection ends, and again until each partition has done it.
- If the process shows no sign of life, the workers end the guards of its connections by themselves.

A worker refuses commands of a guard that has ended. What the connection had sent before is ahead of
the end in the partition's stream. So nothing is left of a dead connection, and nothing of it comes
later, even if its process was frozen with orders in its hands.

guard.py is the state of one connection's guard, keeper.py looks after all guards of a process.
"""

from orders.guards.guard import Guard
from orders.guards.keeper import GuardKeeper, current_keeper

__all__ = ["Guard", "GuardKeeper", "current_keeper"]
