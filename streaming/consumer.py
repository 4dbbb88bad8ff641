"""One WebSocket client of /stream: its requests, its subscriptions and its outbox."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from base.refusals import Refusal, Unavailable
from instruments.directory import TradedInstrument, directory
from marketdata.messages import ErrorMessage, error_text
from orders.guards import Guard
from streaming import COUNT_MESSAGE, LAST_WORDS, PACKET, TOO_MANY_FRAMES, WATCH_PEER, metrics
from streaming.hub import Hub, current_hub
from streaming.messages import Pong, Subscribed, Unsubscribed
from streaming.order_entry import OrderEntry
from streaming.outbox import Outbox
from streaming.packet import Packet
from streaming.requests import (
    EntryRequest,
    InvalidMessage,
    Ping,
    Subscribe,
    Unsubscribe,
    decode_request,
)
from streaming.topics import Topic

logger = logging.getLogger(__name__)

CLOSE_POLICY_VIOLATION = 1008
CLOSE_MESSAGE_TOO_BIG = 1009
CLOSE_INTERNAL_ERROR = 1011
CLOSE_TRY_AGAIN_LATER = 1013
MESSAGES_PER_TURN = 64
"""After so many messages of one client, the others have their turn."""
PRIVATE_CLOSE_CODES = 3000  # added to the codes on Daphne: 4008, 4009, 4011 and 4013

_open_connections = 0
# The id of a request may have numbers, which were read as Decimals.
_encode_message = msgspec.json.Encoder(decimal_format="number").encode


class Subscription(NamedTuple):
    """One topic of one instrument, without its pace."""

    symbol: str
    topic: Topic


class StreamConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Serves the protocol of /stream to one client."""

    _counted = False  # whether it is counted in _open_connections
    _ended = False  # whether a close was sent, after which nothing may be sent
    _too_slow = False
    _is_flooding = False
    _is_silent = False
    _has_lost_guard = False
    _sending: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the client until it leaves or can't be served any more."""
        self._subscriptions: dict[Subscription, Topic] = {}  # the topics with their pace
        self._serving = asyncio.create_task(self._serve(scope, receive, send), name="stream-client")
        try:
            await self._serving
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            await self._close_connection()
        finally:
            await self._release_resources()

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle the client's messages until it leaves.

        Unlike Channels, this makes no task for each message: there is no channel layer to wait for
        as well. Messages that arrived together are handled together, a bounded number of them.
        """
        self.scope, self.base_send = scope, send
        with contextlib.suppress(StopConsumer):
            for number in itertools.count(1):
                await self.dispatch(await receive())
                if number % MESSAGES_PER_TURN == 0 or self._serving.cancelling():
                    await asyncio.sleep(0)  # A cancel takes effect here, before the next message.

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the handler of a message.

        Unlike Channels, this does not close old database connections first, on another thread:
        consumers have none.
        """
        if message["type"] == "websocket.receive":
            await self.websocket_receive(message)
        else:
            await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        global _open_connections  # noqa: PLW0603 - changed by the event loop only
        if _open_connections >= settings.STREAM_CONNECTIONS_MAX:
            await self.close(code=CLOSE_TRY_AGAIN_LATER)
            return
        _open_connections += 1
        self._counted = True
        metrics.connections.inc()
        self._received_at: deque[float] = deque(maxlen=settings.STREAM_MESSAGES_PER_SECOND_MAX)
        self._hub: Hub = current_hub()
        # Our own server takes packets, and counts the messages together with other frames.
        extension = self.scope.get("extensions", {}).get(PACKET)
        send = self._send_texts if extension is None else self._send_packet
        self._count = self._count_here if extension is None else extension[COUNT_MESSAGE]
        self._outbox = Outbox(send, self._on_overflow)
        watch_peer = _cannot_watch if extension is None else extension[WATCH_PEER]
        self._entry = OrderEntry(
            self._outbox.put,
            self._count_message,
            guard=Guard(self._on_guard_lost),
            watch_peer=lambda: watch_peer(self._on_silent),
        )
        await self.accept()
        self._hub.connect(self._outbox)
        self._sending = asyncio.create_task(self._send_outbox(), name="outbox")

    async def _release_resources(self) -> None:
        """Undo the connection's counts and subscriptions, however the connection ended."""
        global _open_connections  # noqa: PLW0603
        if not self._counted:
            return
        self._counted = False
        _open_connections -= 1
        metrics.connections.dec()
        self._hub.outboxes.discard(self._outbox)
        self._entry.close()
        for subscription in list(self._subscriptions):
            self._unfollow(subscription)
        await self._stop_sending()
        # A server that stops waits for this, so that orders are cancelled before it exits.
        await self._entry.wait_for_end()

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if TOO_MANY_FRAMES in message:
            if not self._ended:
                await self._outbox.flush()
                await self._send_close(CLOSE_POLICY_VIOLATION)
            return
        await self.receive(message.get("text"), message.get("bytes"))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._ended:
            return
        metrics.messages_received.inc()
        if _frame_bytes(text_data, bytes_data) > settings.STREAM_FRAME_BYTES_MAX:
            await self._send_close(CLOSE_MESSAGE_TOO_BIG)
            return
        try:
            if text_data is None:
                raise InvalidMessage("Text frames are required, not binary ones.")
            request = decode_request(text_data)
            if isinstance(request, EntryRequest):  # counted only if it is refused before admission
                await self._entry.serve(request)
            elif self._count_message():
                await self._serve_request(request)
        except InvalidMessage as error:
            if not self._count_message():
                return
            self._put_message(ErrorMessage(code=error.code, message=error.message, **error.echoed))
        except Refusal as error:
            self._outbox.put(error_text(error.code, error.message))

    def _count_message(self) -> bool:
        """Count a message, and close the connection if there are too many.

        Returns whether the connection stays open.
        """
        if self._count():
            return True
        self._is_flooding = True
        self._serving.cancel()
        return False

    def _count_here(self) -> bool:
        """Count a message on a server that does not count frames."""
        now = time.monotonic()
        if len(self._received_at) == self._received_at.maxlen and now - self._received_at[0] < 1.0:
            return False
        self._received_at.append(now)
        return True

    async def _serve_request(self, request: Subscribe | Unsubscribe | Ping) -> None:
        if isinstance(request, Ping):
            self._put_message(Pong(request.id))
            return
        instruments = await self._requested_instruments(request)
        selection: dict[str, Any] = {
            "channels": list(dict.fromkeys(request.channels)),
            "instruments": [instrument.symbol for instrument in instruments],
            **request.options,
        }
        chosen = [(instrument, topic) for topic in request.topics for instrument in instruments]
        if isinstance(request, Unsubscribe):
            for instrument, topic in chosen:
                self._unfollow(Subscription(instrument.symbol, topic.identity))
            self._put_message(Unsubscribed(**selection))
            return
        wanted = self._subscriptions.keys() | {
            Subscription(instrument.symbol, topic.identity) for instrument, topic in chosen
        }
        if len(wanted) > settings.STREAM_SUBSCRIPTIONS_MAX:
            await self._send_close(CLOSE_POLICY_VIOLATION)
            return
        self._put_message(Subscribed(**selection))
        for instrument, topic in chosen:
            await self._follow(instrument, topic)

    async def _requested_instruments(self, request: Subscribe | Unsubscribe) -> list[TradedInstrument]:
        if request.instrument is None:
            leaving = isinstance(request, Unsubscribe)
            followed = {subscription.symbol for subscription in self._subscriptions} if leaving else ()
            known = (await directory.all()).values()
            return [each for each in known if not each.halted or each.symbol in followed]
        return [await directory.get(symbol) for symbol in dict.fromkeys(request.instrument)]

    async def _follow(self, instrument: TradedInstrument, topic: Topic) -> None:
        """Follow a topic, in place of the same topic at another pace. Raises Unavailable.

        If this raises, the same topic at another pace is gone. Other subscriptions stay.
        """
        subscription = Subscription(instrument.symbol, topic.identity)
        before = self._subscriptions.get(subscription)
        if before is None and not self._hub.may_subscribe(len(self._subscriptions)):
            raise Unavailable("There are too many subscriptions. Subscribe to less, or try again later.")
        if before not in (None, topic):
            self._unfollow(subscription)
        if subscription not in self._subscriptions:
            self._hub.subscriptions += 1
        # Store the topic before following it, so that it is removed if the client leaves meanwhile.
        self._subscriptions[subscription] = topic
        try:
            feed = await self._hub.feed(instrument)
            await feed.follow(topic, self._outbox)
        except Refusal:
            if before != topic:
                self._unfollow(subscription)
            raise
        await asyncio.sleep(0)  # Let the outbox send its packets before the next snapshot.

    def _unfollow(self, subscription: Subscription) -> None:
        topic = self._subscriptions.pop(subscription, None)
        self._hub.subscriptions -= topic is not None
        feed = self._hub.existing_feed(subscription.symbol)
        if topic is not None and feed is not None:
            feed.unfollow(topic, self._outbox)

    def _put_message(self, message: msgspec.Struct) -> None:
        self._outbox.put(_encode_message(message).decode())

    async def _send_packet(self, packet: Packet) -> None:
        await self.base_send({"type": "websocket.send", PACKET: packet})

    async def _send_texts(self, packet: Packet) -> None:
        for text in packet.texts:
            await self.base_send({"type": "websocket.send", "text": text})

    async def _send_outbox(self) -> None:
        try:
            await self._outbox.run()
        except OSError:
            self._serving.cancel()  # The client is gone.
        except Exception as error:  # such as Daphne's, if a packet is over 1 MiB
            logger.warning("can't write to a client of the stream: %r", error)
            self._serving.cancel()

    async def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _on_overflow(self) -> None:
        """End the wait for the client's next message: some servers can't close during it."""
        self._too_slow = True
        self._serving.cancel()

    def _on_silent(self) -> None:
        """End the connection of a client that has a guard and seems to be gone."""
        self._is_silent = True
        self._serving.cancel()

    def _on_guard_lost(self) -> None:
        """End the connection, so that its client learns that its orders were cancelled."""
        self._has_lost_guard = True
        self._serving.cancel()

    async def _close_connection(self) -> None:
        """Close the connection without waiting for the client, which may be gone or not read."""
        # The client is gone if these are raised. RuntimeError is Daphne's.
        with contextlib.suppress(OSError, RuntimeError):
            if self._is_flooding:
                await self._outbox.flush()  # The messages within the limit are answered.
                await self._send_close(CLOSE_POLICY_VIOLATION)
                return
            if not self._too_slow and not self._is_silent and not self._has_lost_guard:
                await self._send_close(CLOSE_INTERNAL_ERROR)
                return
            self._entry.end_guard()
            await self._stop_sending()
            await self.base_send({"type": "websocket.send", "text": self._last_words(), LAST_WORDS: True})
            await self._send_close(CLOSE_TRY_AGAIN_LATER)

    def _last_words(self) -> str:
        """Return the message that says why the connection is closed."""
        if self._too_slow:
            message = "You read too slowly. Connect again and subscribe to less, or read faster."
            return error_text("slow_consumer", message)
        if self._is_silent:
            return error_text("silent", "You sent nothing for too long, not even a pong to a ping.")
        message = "Your orders were cancelled: this connection was taken for dead. Connect again."
        return error_text("disconnected", message)

    async def _send_close(self, code: int) -> None:
        self._ended = True
        self._entry.end_guard()
        self._outbox.close()
        await self._stop_sending()
        try:
            await self.close(code=code)
        except Exception as error:
            if type(error) is not Exception:
                raise
            # Daphne's WebSocket library raises a plain Exception for codes other than 1000 and
            # codes from 3000.
            await self.close(code=code + PRIVATE_CLOSE_CODES)


def _cannot_watch(on_silent: Callable[[], object]) -> None:
    """Do nothing. Daphne pings its connections itself."""


def _frame_bytes(text: str | None, data: bytes | None) -> int:
    if text is None:
        return len(data or b"")
    return len(text) if text.isascii() else len(text.encode())
