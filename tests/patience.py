"""How long a test waits for something that is to happen: a deadline, no measurement.

A test goes on as soon as its condition holds, so that on an idle machine nobody waits for this long. Machines that
are shared are sometimes slower by a factor of twenty, and a test may not fail for that.
"""

PATIENCE_SECONDS = 120.0
