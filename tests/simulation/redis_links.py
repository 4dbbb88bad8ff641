"""The exchange's own connections to Redis, on the model: sessions, admission and replies."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from redis.exceptions import ConnectionError as RedisConnectionError

from base.refusals import Unavailable
from orders import messages
from orders.gateway.admission import COUNTS_ONLY, ORDER, OTHER, Admission, Applicant, Verdict
from tests.simulation.redis_model import RESUBSCRIBE_SECONDS, Client, Server, entry_id, id_text
from tests.simulation.redis_scripts import SCRIPTS


class SimulatedSession:
    """`base.redis.RedisSession` on the model, for the commands that the worker runs on it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, *commands: tuple[Any, ...]) -> list[Any]:
        if "BLOCK" in commands[0]:
            return [await self._wait_and_read(*commands[0][1:])]
        cut = self._client.process.choose(len(commands))  # the server may end after a part of the commands
        generation = self._client.server.generation
        answers: list[Any] = []
        for part in filter(None, (commands[:cut], commands[cut:])):
            if self._client.server.generation != generation:
                raise RedisConnectionError("the connection was lost")
            answers += await self._client.call(functools.partial(self._do_all, part))
        return answers

    async def disconnect(self) -> None:
        """Do nothing: the model has no connection to close."""

    def _do_all(self, commands: tuple[tuple[Any, ...], ...]) -> list[Any]:
        return [self._do(*command) for command in commands]

    def _do(self, name: str, *arguments: Any) -> Any:
        if name == "XTRIM":
            _, _, minid = arguments
            return self._client.trim(minid)
        if name == "PUBLISH":
            return self._client.server.publish(*arguments)
        if name == "XREAD":
            return self._read(*arguments)
        assert name == "EVALSHA", name
        sha, count, *others = arguments
        return SCRIPTS[sha](self._client.server, others[:count], others[count:])

    def _read(self, *arguments: Any) -> list[tuple[str, Any]]:
        *options, _, key, position = arguments
        found = [entry for entry in self._client.server.entries if entry[0] > entry_id(position)]
        entries = [
            (id_text(identifier), [part for field in fields.items() for part in field])
            for identifier, fields in found[: options[options.index("COUNT") + 1]]
        ]
        return [(key, entries)] if entries else []

    async def _wait_and_read(self, *arguments: Any) -> list[tuple[str, Any]]:
        answer = await self._client.call(lambda: self._read(*arguments))
        if not answer:
            await self._client.server.wait_for_entry(arguments[arguments.index("BLOCK") + 1] / 1000)
            answer = await self._client.call(lambda: self._read(*arguments))
        return list(answer)


class SimulatedAdmission:
    """`orders.gateway.admission.AdmissionScript` on the model, without a rate limit."""

    def __init__(self, client: Client, partition: int) -> None:
        self._client = client
        self._heartbeat = messages.heartbeat_key(partition)
        self._generation: int | None = None

    async def connect(self) -> None:
        if self._generation is None:
            await self._client.call(lambda: None)
            self._generation = self._client.server.generation

    async def disconnect(self) -> None:
        self._generation = None

    async def admit(self, applicants: list[Applicant]) -> list[Admission]:
        server = self._client.server
        if self._generation != server.generation:
            self._generation = None
            raise RedisConnectionError("the connection was lost")

        def admit(some: list[Applicant], *, forced: bool = False) -> list[Admission]:
            return [Admission(self._admit(server, one, forced=forced)) for one in some]

        try:
            admissions = list(await self._client.call(lambda: admit(applicants)))
            again = [
                number
                for number, admission in enumerate(admissions)
                if admission.verdict is Verdict.REFUSED and applicants[number].kind == OTHER
            ]
            if again:
                others = [applicants[number] for number in again]
                forced = await self._client.call(lambda: admit(others, forced=True))
                for number, admission in zip(again, forced, strict=True):
                    admissions[number] = admission
            return admissions
        except RedisConnectionError:
            self._generation = None
            raise

    def _admit(self, server: Server, applicant: Applicant, *, forced: bool) -> Verdict:
        if applicant.kind in COUNTS_ONLY:
            return Verdict.TAKEN
        if server.get(self._heartbeat) is None:
            return Verdict.NOBODY_MATCHING
        is_order = applicant.kind == ORDER
        length_max = settings.ORDER_QUEUE_LENGTH_MAX if is_order else settings.CANCEL_QUEUE_LENGTH_MAX
        if len(server.entries) >= length_max:
            return Verdict.QUEUE_FULL
        if server.full and not forced:
            return Verdict.REFUSED
        server.append({messages.COMMAND_FIELD: applicant.payload})
        return Verdict.TAKEN


class SimulatedReplies:
    """`orders.gateway.replies.ReplyListener` on the model."""

    def __init__(
        self,
        client: Client,
        channel: str,
        on_reply: Callable[[messages.Reply], None],
        on_lost: Callable[[], Awaitable[None]],
    ) -> None:
        self.connected = False
        self._client = client
        self._channel = channel
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._task: asyncio.Task[None] | None = None
        self._attempted = asyncio.Event()

    async def ready(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._listen())
        await self._attempted.wait()
        if not self.connected:
            raise Unavailable("Redis is not answering. The request was not processed.")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _listen(self) -> None:
        server = self._client.server
        while True:
            try:
                await self._client.call(lambda: server.listeners.__setitem__(self._channel, self._deliver))
                self.connected = True
                self._attempted.set()
                generation = server.generation
                while (server.up, server.generation, self._channel in server.listeners) == (
                    True,
                    generation,
                    True,
                ):
                    await asyncio.sleep(RESUBSCRIBE_SECONDS)
                    await self._client.process.step()
            except RedisConnectionError:
                pass
            self.connected = False
            self._attempted.set()
            await self._on_lost()
            await asyncio.sleep(RESUBSCRIBE_SECONDS)

    def _deliver(self, data: bytes) -> None:
        """Deliver in a step of the process. It may be frozen or dead when the message arrives."""
        asyncio.get_running_loop().create_task(self._take(data))

    async def _take(self, data: bytes) -> None:
        await self._client.process.step()
        for reply in messages.decode_replies(data):
            self._on_reply(reply)
