"""A WebSocket on a connection that Hypercorn serves, ended as RFC 6455 asks where Hypercorn 0.18 is careless.

Law of this file: with http.py the only one that knows Hypercorn's inside. What was measured of Hypercorn and is put
right here: a client that breaks the protocol is hung up on without a close frame; after 1009 it goes on reading into
memory; who sends frames before the handshake's end joins all the same and is never told to be gone; a stream of HTTP/2
that the client has ended counts as open; and data for a stream that the server has ended ends every other stream of
the connection.
"""

from __future__ import annotations

from http import HTTPStatus
from time import time
from typing import Any, Final, cast

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Event, StreamClosed
from hypercorn.protocol.ws_stream import FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from collabd.protocol import close_codes
from collabd.protocol.rate import TokenBucket

_DROPPED_HEADER: Final = b"sec-websocket-extensions"
_GOODBYE_TIMEOUT: Final = 2.0
"""Seconds that the close frame may wait for the client's flow control (RFC 9113, section 5.2)."""


class HttpConfig(HypercornConfig):
    """Hypercorn's settings, and how fast a client may ping: as fast as it may send messages."""

    messages_per_second: float = 0
    message_burst: float = 1
    _dated: tuple[int, list[tuple[bytes, bytes]]] = (0, [])

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """What Hypercorn adds to every answer; its date is written out once a second."""
        second = int(time())
        if second != self._dated[0]:
            self._dated = second, super().response_headers(protocol)
        return self._dated[1]


class CarefulSocket(WSStream):
    """Hypercorn's WebSocket, which says why it ends and then ends at once."""

    _pings: TokenBucket | None = None

    async def handle(self, event: Event) -> None:
        """Take what came from the client."""
        if self.closed:
            return
        if isinstance(event, EndBody) and self.handshake.accepted:
            await self.send(StreamClosed(stream_id=self.stream_id))
        elif isinstance(event, Body | Data) and not self.handshake.accepted:
            await self._refuse()
        else:
            await super().handle(event)

    async def _refuse(self) -> None:
        """Frames came before the handshake's end: answer 400, and tell the app, which may be joining already."""
        self.closed = True  # first, so that an acceptance that is on its way is dropped
        await self._send_error_response(HTTPStatus.BAD_REQUEST)
        if self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": CloseReason.ABNORMAL_CLOSURE.value})
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                try:
                    self.buffer.extend(event)
                except FrameTooLargeError:
                    await self._hang_up(CloseConnection(code=CloseReason.MESSAGE_TOO_BIG, reason="message too big"))
                    return
                if event.message_finished and self.connection.state is ConnectionState.OPEN:
                    assert self.app_put is not None, "a message comes after the handshake"
                    await self.app_put(self.buffer.to_message())
                if event.message_finished:
                    self.buffer.clear()
            elif isinstance(event, Ping):
                if not self._takes_ping():
                    await self._hang_up(CloseConnection(code=close_codes.RATE_LIMITED, reason="too many pings"))
                    return
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                # The client's close, or wsproto's word for what the client did wrong: its code is the answer's.
                await self._hang_up(event.response())
                return

    def _takes_ping(self) -> bool:
        now = trio.current_time()
        if self._pings is None:
            config = cast(HttpConfig, self.config)
            self._pings = TokenBucket(config.messages_per_second, config.message_burst, now)
        return not self._pings.take(now)

    async def _hang_up(self, close: CloseConnection) -> None:
        with trio.move_on_after(_GOODBYE_TIMEOUT):
            await self._send_wsproto_event(close)
            await self.send(EndData(stream_id=self.stream_id))
        await self.send(StreamClosed(stream_id=self.stream_id))


def make_careful(stream: object) -> None:
    """Make Hypercorn's WebSocket a careful one; it offers no place to say which class it should make."""
    if isinstance(stream, WSStream):
        stream.__class__ = CarefulSocket


def without_extensions(headers: Any) -> list[tuple[bytes, bytes]]:
    """A request's headers without the offer of WebSocket extensions.

    permessage-deflate is never negotiated: 59 kB of it were measured to peak at 223 MiB.
    """
    return [(name, value) for name, value in headers if name.lower() != _DROPPED_HEADER]
