"""The supervisor restarts services that die, also while it is starting another one."""

from collections.abc import Callable

from hosting.supervisor.supervision import Supervisor


class StubService:
    """A service without a process, whose death the test decides."""

    def __init__(self, name: str, on_start: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.runs = False
        self.starts = 0
        self._on_start = on_start

    def start(self) -> None:
        self.starts += 1
        self.runs = True
        self._on_start()

    def is_running(self) -> bool:
        return self.runs

    def stop(self) -> None:
        self.runs = False


def test_a_service_that_dies_during_the_start_of_another_is_restarted() -> None:
    """The first service is looked at before the second one, whose start takes a while."""
    first = StubService("first")
    supervisor = Supervisor()
    supervisor.start(first)

    def die_at_the_restart() -> None:
        if second.starts == 2:
            first.runs = False

    second = StubService("second", die_at_the_restart)
    supervisor.start(second)
    second.runs = False

    assert supervisor.restart_dead() == 0.0
    assert not first.runs
    assert supervisor.restart_dead() == 0.0
    assert (first.starts, second.starts) == (2, 2)
    assert supervisor.restart_dead() is None
