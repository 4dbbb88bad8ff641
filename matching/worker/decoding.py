"""Turns stream entries into the commands of one batch."""

import logging
from typing import NamedTuple

import msgspec

from matching.worker import metrics
from matching.worker.command_stream import CommandStream, Entry
from orders import messages

logger = logging.getLogger(__name__)


class StreamedCommand(NamedTuple):
    """A command and its stream position: the id of its entry."""

    command: messages.Command
    position: str


async def decode_commands(
    entries: list[Entry], stream: CommandStream, position: str
) -> tuple[list[StreamedCommand], str]:
    """Return the commands of one batch, and the position before the first command.

    Invalid entries at the beginning become dead letters, and move the position. An invalid entry
    after a command ends the batch. So every dead letter is before the position that the batch
    commits, even if only some of the commands are run. Raises redis.RedisError.
    """
    commands: list[StreamedCommand] = []
    for entry in entries:
        try:
            if entry.payload is None:
                raise msgspec.DecodeError("no command field")
            command = messages.decode_command(entry.payload)
        except msgspec.DecodeError as error:
            if commands:
                break
            logger.error("stream entry %s set aside: %s", entry.entry_id, error)
            metrics.dead_letters.inc()
            await stream.set_aside(entry, str(error))
            position = entry.entry_id
            continue
        commands.append(StreamedCommand(command, entry.entry_id))
        if isinstance(command, messages.ReloadInstruments | messages.InspectBooks):
            # The command after a reload must see the changed instruments. An inspection must show
            # committed books.
            break
    return commands, position
