"""Commands that wait for a chain of triggered orders, while the commands behind them go on.

All of a chain comes before the next command of its instrument. Such a command is deferred: it leaves
the stream, and is kept here and in the database until it need not wait any more.

For each book, and for each client, it must make no difference that other commands went on. So each
command needs some names and holds some, and it waits while a chain or a command that was deferred
before it holds a name that it needs:

- a command of one instrument waits for the instrument's chain and its earlier commands;
- a command for all orders of a client waits for the client's earlier commands, and for the instruments
  in which the client has orders. Later commands of the client and of these instruments wait for it;
- a change of a guard comes between the earlier and the later commands of its connection. The end of a
  guard is also a command for all orders of each of its clients;
- a dead man's switch is set after the client's earlier commands, which it is to cover;
- an idempotency key belongs to the command that came first. An AwaitKey is answered after that
  command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, NamedTuple, Self

from orders import messages
from orders.messages import GuardAction

if TYPE_CHECKING:
    from matching.batch.market_book import PartitionState

Name = str | tuple[str, ...]  # a symbol, or what else a command needs or holds


class Ties(NamedTuple):
    """What a command needs before it is carried out, and what it holds until then."""

    needs: tuple[Name, ...] = ()
    holds: tuple[Name, ...] = ()

    def wait_for(self, *holders: Container[Name]) -> bool:
        """Return whether something that is needed is held."""
        return any(name in held for held in holders for name in self.needs)


class DeferredCommand(NamedTuple):
    """A deferred command. Numbers grow in the order of arrival."""

    number: int
    command: messages.Command
    ties: Ties


class DeferredCommands:
    """The deferred commands of one partition, in the order of their arrival."""

    def __init__(self) -> None:
        self._commands: dict[int, DeferredCommand] = {}
        self._held: Counter[Name] = Counter()
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._commands)

    def __iter__(self) -> Iterator[DeferredCommand]:
        return iter(self._commands.values())

    def get(self, number: int) -> DeferredCommand | None:
        return self._commands.get(number)

    @property
    def held(self) -> Container[Name]:
        """The names that the commands hold."""
        return self._held.keys()

    def of(self, owner: str) -> Iterator[tuple[messages.Command, Ties]]:
        """Yield the commands of a client or a connection, with their ties."""
        name = _each(owner)
        if name in self._held:
            yield from ((one.command, one.ties) for one in self if name in one.ties.holds)

    def copy(self) -> Self:
        """Return a copy that can be changed by itself."""
        copy = type(self)()
        copy._commands = self._commands.copy()
        copy._held = self._held.copy()
        copy._last_number = self._last_number
        return copy

    def add(self, command: messages.Command, ties: Ties, number: int | None = None) -> DeferredCommand:
        """Add a command behind all others, with the next number or the one that it was stored with."""
        self._last_number = self._last_number + 1 if number is None else number
        deferred = DeferredCommand(self._last_number, command, ties)
        self._commands[deferred.number] = deferred
        self._held.update(ties.holds)
        return deferred

    def remove(self, number: int) -> None:
        """Remove a command that is done."""
        for name in self._commands.pop(number).ties.holds:
            self._held[name] -= 1
            if not self._held[name]:
                del self._held[name]

    def ready(self, chains: Container[Name]) -> Iterator[DeferredCommand]:
        """Yield the commands that need not wait, in their order.

        `chains` are the symbols of unfinished chains. A command that was yielded and is still here
        at the next step has to wait after all, and so have the others that need what it holds.
        """
        held: set[Name] = set()
        for deferred in list(self._commands.values()):
            if not deferred.ties.wait_for(chains, held):
                yield deferred
            if deferred.number in self._commands:
                held.update(deferred.ties.holds)


def ties_of(command: messages.Command, state: PartitionState) -> Ties:
    """Return the ties of a command behind those that are deferred already."""
    if isinstance(command, messages.GuardCommand):
        return _ties_of_guard(command, state)
    if isinstance(command, messages.AwaitKey):
        return Ties(needs=(_key(command.client_id, command.idempotency_key),))
    if not isinstance(command, messages.GuardedCommand):
        return Ties()  # It only reads, or is about no client.
    client_id = command.client_id
    needs: list[Name] = []
    holds: list[Name] = [_each(client_id)]
    if command.guard is not None:
        needs.append(_all(command.guard))
        holds.append(_each(command.guard))
    if isinstance(command, messages.CancelAfterCommand):
        needs.append(_each(client_id))
    elif command.instrument is None:
        symbols = _symbols_of(client_id, state)
        needs += (_each(client_id), *symbols)
        holds += (_all(client_id), *symbols)
    else:
        needs += (command.instrument, _all(client_id))
        holds.append(command.instrument)
    if isinstance(command, messages.PlaceCommand) and command.idempotency_key is not None:
        key = _key(client_id, command.idempotency_key)
        needs.append(key)
        holds.append(key)
    return Ties(tuple(needs), tuple(holds))


def _ties_of_guard(command: messages.GuardCommand, state: PartitionState) -> Ties:
    owners = [command.connection_id]
    symbols: set[str] = set()
    if command.action is GuardAction.END:
        guard = state.guards.get(command.connection_id)
        clients = set() if guard is None else {*guard.client_ids}
        clients |= {
            change.client_id
            for change, _ in state.deferred.of(command.connection_id)
            if isinstance(change, messages.GuardCommand) and change.action is GuardAction.ARM
        }
        owners += sorted(clients)
        symbols = {symbol for client_id in clients for symbol in _symbols_of(client_id, state)}
    names = (*(name for owner in owners for name in (_each(owner), _all(owner))), *symbols)
    return Ties(names, names)


def _each(owner: str) -> Name:
    """The name that each command of a client or a connection holds."""
    return ("each", owner)


def _all(owner: str) -> Name:
    """The name that a command for all orders of a client holds, or a change of a connection's guard."""
    return ("all", owner)


def _key(client_id: str, idempotency_key: str) -> Name:
    """The name that is held by a command that may place the order with this key."""
    return ("key", client_id, idempotency_key)


def _symbols_of(client_id: str, state: PartitionState) -> set[str]:
    """Return the symbols of books in which the client has orders, or may have by then."""
    found = {symbol for symbol, market in state.books.items() if market.orders.of(client_id)}
    for _, ties in state.deferred.of(client_id):
        found |= {name for name in ties.holds if isinstance(name, str)}
    return found
