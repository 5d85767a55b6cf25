"""A WebSocket on a connection that Hypercorn serves, ended as RFC 6455 asks where Hypercorn 0.18 is careless.

Law of this file: with http.py the only one that knows Hypercorn's inside. What was measured of Hypercorn and is put
right here: a client that breaks the protocol is hung up on without a close frame; after 1009 it goes on reading into
memory; who sends frames before the handshake's end joins all the same and is never told to be gone; a stream of HTTP/2
that the client has ended counts as open; and data for a stream that the server has ended ends every other stream of
the connection.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import h2.events
import trio
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Event, StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.ws_stream import FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

_GOODBYE_TIMEOUT: Final = 2.0
"""Seconds that the close frame may wait for the client's flow control (RFC 9113, section 5.2)."""


class CarefulSocket(WSStream):
    """Hypercorn's WebSocket, which says why it ends and then ends at once."""

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
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                # The client's close, or wsproto's word for what the client did wrong: its code is the answer's.
                await self._hang_up(event.response())
                return

    async def _hang_up(self, close: CloseConnection) -> None:
        with trio.move_on_after(_GOODBYE_TIMEOUT):
            await self._send_wsproto_event(close)
            await self.send(EndData(stream_id=self.stream_id))
        await self.send(StreamClosed(stream_id=self.stream_id))


class CarefulH2(H2Protocol):
    """HTTP/2 that reads on when a client's bytes and the server's end of a stream cross."""

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                self.connection.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            else:
                await super()._handle_events([event])
        await self._flush()
