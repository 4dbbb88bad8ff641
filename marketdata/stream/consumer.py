"""One WebSocket client of /stream: its messages in, its subscriptions, its outbox."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from typing import Any, NamedTuple

from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from marketdata import metrics
from marketdata.messages import error_text
from marketdata.stream import LAST_WORDS, PACKET, TOO_MANY_FRAMES
from marketdata.stream.hub import Hub, current_hub
from marketdata.stream.outbox import Outbox
from marketdata.stream.packet import Packet
from marketdata.stream.requests import InvalidMessage, Ping, Subscribe, Unsubscribe, decode_request
from marketdata.stream.topics import Topic
from orders.instruments import TradedInstrument, directory
from rest.encoding import encode_json
from rest.exceptions import Refusal, Unavailable

logger = logging.getLogger(__name__)

CLOSE_POLICY_VIOLATION = 1008
CLOSE_MESSAGE_TOO_BIG = 1009
CLOSE_INTERNAL_ERROR = 1011
CLOSE_TRY_AGAIN_LATER = 1013
PRIVATE_CLOSE_CODES = 3000  # on Daphne: 4008, 4009, 4011, 4013

_open_connections = 0


class Subscription(NamedTuple):
    """One topic of one instrument, at whichever pace."""

    symbol: str
    topic: Topic


class StreamConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Speaks the protocol of /stream."""

    channel_layer_alias = "none"  # the hub listens to the groups for all clients of this process
    _counted = False  # among the open connections
    _ended = False  # a close was sent: nothing may follow it
    _too_slow = False
    _sending: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve until the client leaves or can't be served."""
        self._subscriptions: dict[Subscription, Topic] = {}  # with the pace
        self._serving = asyncio.create_task(super().__call__(scope, receive, send), name="stream-client")
        try:
            await self._serving
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            await self._dismiss()
        finally:
            await self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Channels would look for old database connections first, on another thread: here are none."""
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        global _open_connections  # noqa: PLW0603 - a count of this process, touched on the event loop only
        if _open_connections >= settings.STREAM_CONNECTIONS_MAX:
            await self.close(code=CLOSE_TRY_AGAIN_LATER)
            return
        _open_connections += 1
        self._counted = True
        metrics.connections.inc()
        self._recent: deque[float] = deque(maxlen=settings.STREAM_MESSAGES_PER_SECOND_MAX)
        self._hub: Hub = current_hub()
        takes_packets = PACKET in self.scope.get("extensions", {})
        send = self._send_packet if takes_packets else self._send_texts
        self._outbox = Outbox(send, self._on_overflow)
        await self.accept()
        self._hub.connect(self._outbox)
        self._sending = asyncio.create_task(self._empty_outbox(), name="outbox")

    async def _leave(self) -> None:
        """Undo what connecting and subscribing did, however the connection ended."""
        global _open_connections  # noqa: PLW0603
        if not self._counted:
            return
        self._counted = False
        _open_connections -= 1
        metrics.connections.dec()
        self._hub.outboxes.discard(self._outbox)
        for subscription in list(self._subscriptions):
            self._unfollow(subscription)
        await self._stop_sending()

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if TOO_MANY_FRAMES in message:
            if not self._ended:
                await self._end(CLOSE_POLICY_VIOLATION)
            return
        await super().websocket_receive(message)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._ended:
            return
        metrics.messages_received.inc()
        if _frame_bytes(text_data, bytes_data) > settings.STREAM_FRAME_BYTES_MAX:
            await self._end(CLOSE_MESSAGE_TOO_BIG)
            return
        now = time.monotonic()
        if len(self._recent) == self._recent.maxlen and now - self._recent[0] < 1.0:
            await self._end(CLOSE_POLICY_VIOLATION)
            return
        self._recent.append(now)
        try:
            if text_data is None:
                raise InvalidMessage("invalid_message", "Text frames are required, not binary ones.")
            await self._serve(text_data)
        except InvalidMessage as error:
            self._outbox.put(error_text(error.code, str(error)))
        except Refusal as error:
            self._outbox.put(error_text(str(error.get_codes()), str(error.detail)))

    async def _serve(self, text: str) -> None:
        request = decode_request(text)
        if isinstance(request, Ping):
            self._put({"type": "pong", "id": request.id})
            return
        instruments = await self._instruments(request)
        selection = {
            "channels": list(dict.fromkeys(request.channels)),
            "instruments": [instrument.symbol for instrument in instruments],
            **request.options,
        }
        chosen = [(instrument, topic) for topic in request.topics for instrument in instruments]
        if isinstance(request, Unsubscribe):
            for instrument, topic in chosen:
                self._unfollow(Subscription(instrument.symbol, topic.identity))
            self._put({"type": "unsubscribed", **selection})
            return
        wanted = self._subscriptions.keys() | {
            Subscription(instrument.symbol, topic.identity) for instrument, topic in chosen
        }
        if len(wanted) > settings.STREAM_SUBSCRIPTIONS_MAX:
            await self._end(CLOSE_POLICY_VIOLATION)
            return
        self._put({"type": "subscribed", **selection})
        for instrument, topic in chosen:
            await self._follow(instrument, topic)

    async def _instruments(self, request: Subscribe | Unsubscribe) -> list[TradedInstrument]:
        if request.symbols is None:
            leaving = isinstance(request, Unsubscribe)
            followed = {subscription.symbol for subscription in self._subscriptions} if leaving else ()
            known = (await directory.all()).values()
            return [each for each in known if not each.halted or each.symbol in followed]
        return [await directory.get(symbol) for symbol in dict.fromkeys(request.symbols)]

    async def _follow(self, instrument: TradedInstrument, topic: Topic) -> None:
        """Raises Unavailable; what was followed before stays so, but for another pace of the same."""
        subscription = Subscription(instrument.symbol, topic.identity)
        before = self._subscriptions.get(subscription)
        if before is None and not self._hub.may_subscribe(len(self._subscriptions)):
            raise Unavailable("Too much is followed here. Follow less, or try again later.")
        if before not in (None, topic):
            self._unfollow(subscription)
        if subscription not in self._subscriptions:
            self._hub.subscriptions += 1
        self._subscriptions[subscription] = topic  # first, so that leaving undoes whatever comes of it
        try:
            feed = await self._hub.feed(instrument)
            await feed.follow(topic, self._outbox)
        except Refusal:
            if before != topic:
                self._unfollow(subscription)
            raise
        await asyncio.sleep(0)  # the outbox gives what it has to the server before the next snapshot comes

    def _unfollow(self, subscription: Subscription) -> None:
        topic = self._subscriptions.pop(subscription, None)
        self._hub.subscriptions -= topic is not None
        feed = self._hub.existing_feed(subscription.symbol)
        if topic is not None and feed is not None:
            feed.unfollow(topic, self._outbox)

    def _put(self, message: dict[str, Any]) -> None:
        self._outbox.put(encode_json(message).decode())

    async def _send_packet(self, packet: Packet) -> None:
        await self.base_send({"type": "websocket.send", PACKET: packet})

    async def _send_texts(self, packet: Packet) -> None:
        for text in packet.texts:
            await self.base_send({"type": "websocket.send", "text": text})

    async def _empty_outbox(self) -> None:
        try:
            await self._outbox.run()
        except OSError:
            self._serving.cancel()  # the client is gone
        except Exception as error:  # Daphne sends nothing over 1 MiB
            logger.warning("a client of the stream can't be written to: %r", error)
            self._serving.cancel()

    async def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def _on_overflow(self) -> None:
        """Stop waiting for the client's next message: some servers do not close before that ends."""
        self._too_slow = True
        self._serving.cancel()

    async def _dismiss(self) -> None:
        """Close from our side, without waiting for the client: it may not read at all, or be gone."""
        with contextlib.suppress(OSError, RuntimeError):  # it is gone; the latter with Daphne
            if not self._too_slow:
                await self._end(CLOSE_INTERNAL_ERROR)
                return
            message = "You read too slowly. Connect again and follow less, or read faster."
            text = error_text("slow_consumer", message)
            await self._stop_sending()
            await self.base_send({"type": "websocket.send", "text": text, LAST_WORDS: True})
            await self._end(CLOSE_TRY_AGAIN_LATER)

    async def _end(self, code: int) -> None:
        self._ended = True
        self._outbox.close()
        await self._stop_sending()
        try:
            await self.close(code=code)
        except Exception as error:
            if type(error) is not Exception:
                raise
            # Daphne's WebSocket library raises a bare one: it sends 1000 and codes from 3000 on only.
            await self.close(code=code + PRIVATE_CLOSE_CODES)


def _frame_bytes(text: str | None, data: bytes | None) -> int:
    if text is None:
        return len(data or b"")
    return len(text) if text.isascii() else len(text.encode())
