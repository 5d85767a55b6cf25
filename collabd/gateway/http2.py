"""HTTP/2 as Hypercorn speaks it, bounded.

Law of this file: with the other http modules the only one that knows Hypercorn's inside. What was measured of
Hypercorn 0.18 and is put right here: answers wait for ever and without bound for a client that shuts its windows (2
GiB from one address); unread bodies are acknowledged as fast as they come; data for a stream that has ended ends every
other stream of the connection; a header list that is too large has a limit of its own.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any, Final

import h2.events
import h2.exceptions
import trio
from h2.errors import ErrorCodes
from hypercorn.protocol.events import Body, Data, Response
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.ws_stream import WSStream
from priority.priority import DeadlockError, MissingStreamError

from collabd.errors import ProtocolError
from collabd.gateway.http_socket import make_careful, without_extensions
from collabd.gateway.refusals import Refusal, is_bare, refusal_for, refusal_of
from collabd.gateway.strict import check_target

MOST_HELD_BY_CONNECTION: Final = 8 * 1024 * 1024
"""Bytes of answers that may wait for one client's windows."""
MOST_HELD: Final = 256 * 1024 * 1024
"""The same for all clients together."""
MOST_OF_BODIES: Final = 2 * 1024 * 1024
"""Bytes of bodies that one connection may have under way: past it nothing is acknowledged until a request ends."""
_SPARE: Final = 65_536
"""What the decoder takes beyond the limit on heads, so that a head slightly too large gets an answer."""


class Held:
    """Bytes of answers that wait for windows, of all connections of a server."""

    def __init__(self) -> None:
        self.total = 0


class _CountedBuffer(StreamBuffer):
    """A stream's answer, counted while it waits. `since` is when it last moved (steady seconds)."""

    held: Held
    since = inf

    async def push(self, data: bytes) -> None:
        if not self._complete:
            self.held.total += len(data)
            if not self.buffer:
                self.since = trio.current_time()
        await super().push(data)

    async def pop(self, max_length: int) -> bytes:
        data = await super().pop(max_length)
        self.held.total -= len(data)
        if data:
            self.since = trio.current_time() if self.buffer else inf
        return data

    async def close(self) -> None:
        self.held.total -= len(self.buffer)
        self.since = inf
        await super().close()


class BoundedH2(H2Protocol):
    """HTTP/2 that holds only so much for a client, and only for so long, and reads on when streams end early."""

    held: Held
    write_timeout_s: float

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._body_bytes: dict[int, int] = {}
        self._unacknowledged: list[tuple[int, int]] = []
        self._max_head_bytes = self.config.h11_max_incomplete_size
        self.connection.decoder.max_header_list_size = self._max_head_bytes + _SPARE

    # Requests ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _create_stream(self, request: Any) -> None:
        try:
            self._check_head(request.headers)
        except ProtocolError as fault:
            await self._refuse(request.stream_id, refusal_of(fault))
            return
        request.headers = without_extensions(request.headers)
        await super()._create_stream(request)
        make_careful(self.streams.get(request.stream_id))

    def _check_head(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Raise ProtocolError for what is wrong with a head that h2 lets pass."""
        if sum(len(name) + len(value) + 4 for name, value in headers) > self._max_head_bytes:
            raise ProtocolError("message_too_big", "the request's head is too large")
        if not all(value for name, value in headers if name in (b":authority", b"host")):
            raise ProtocolError("invalid_parameter", "a request must have one Host, which is not empty")
        check_target(dict(headers).get(b":path", b""))

    async def _refuse(self, stream_id: int, refusal: Refusal) -> None:
        try:
            self.connection.send_headers(stream_id, [(b":status", b"%d" % refusal.status), *refusal.headers])
            self.connection.send_data(stream_id, refusal.body, end_stream=True)
        except h2.exceptions.ProtocolError:  # its windows are shut, or it is gone
            self._reset(stream_id, ErrorCodes.REFUSED_STREAM)
        await self._flush()

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                await self._take_data(event)
            else:
                await super()._handle_events([event])
        await self._flush()

    async def _take_data(self, event: h2.events.DataReceived) -> None:
        stream_id, size = event.stream_id or 0, event.flow_controlled_length or 0
        stream = self.streams.get(stream_id)
        if stream is None or isinstance(stream, WSStream):
            self._acknowledge(stream_id, size)
        if stream is None:
            return
        if not isinstance(stream, WSStream):
            self._body_bytes[stream_id] = self._body_bytes.get(stream_id, 0) + size
            self._unacknowledged.append((stream_id, size))
        await stream.handle(Body(stream_id=stream_id, data=event.data or b""))
        self._acknowledge_what_fits()

    def _acknowledge_what_fits(self) -> None:
        while self._unacknowledged and sum(self._body_bytes.values()) <= MOST_OF_BODIES:
            self._acknowledge(*self._unacknowledged.pop(0))

    def _acknowledge(self, stream_id: int, size: int) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self.connection.acknowledge_received_data(size, stream_id)

    async def _close_stream(self, stream_id: int) -> None:
        self._body_bytes.pop(stream_id, None)
        self._acknowledge_what_fits()
        await super()._close_stream(stream_id)

    # Answers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stream_send(self, event: Any) -> None:
        """Pass on what a stream sends, or end the stream where too much waits already."""
        if isinstance(event, Response) and is_bare(event.status_code, event.headers):
            refusal = refusal_for(event.status_code, upgrade=True)
            answer = Response(stream_id=event.stream_id, headers=refusal.headers, status_code=refusal.status)
            await super().stream_send(answer)
            event = Body(stream_id=event.stream_id, data=refusal.body)
        if isinstance(event, Body | Data):
            self._count(event.stream_id)
            if not self._has_room(len(event.data)):
                await self._abandon(event.stream_id)
                return
        await super().stream_send(event)

    def _count(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None and not isinstance(buffer, _CountedBuffer):
            # Hypercorn offers no place to say which class it should make; nothing is in it yet.
            buffer.__class__ = _CountedBuffer
            buffer.held = self.held  # type: ignore[attr-defined]

    def _has_room(self, size: int) -> bool:
        own = sum(len(buffer.buffer) for buffer in self.stream_buffers.values())
        return own + size <= MOST_HELD_BY_CONNECTION and self.held.total + size <= MOST_HELD

    async def _abandon(self, stream_id: int) -> None:
        """Give up one stream; its client may ask again."""
        self._reset(stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
        buffer = self.stream_buffers.pop(stream_id, None)
        if buffer is not None:
            await buffer.close()
            with suppress(MissingStreamError):
                self.priority.remove_stream(stream_id)
        await self._flush()
        await self._close_stream(stream_id)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self.connection.reset_stream(stream_id, code)

    async def send_task(self) -> None:
        """Send what windows let through; a stream that stands still for the write timeout is given up."""
        while not self.closed:
            try:
                stream_id = next(self.priority)
            except DeadlockError:  # none of them has anything, or may send it
                await self._wait_for_data()
            else:
                with suppress(KeyError, MissingStreamError):  # given up while its bytes went out
                    await self._send_data(stream_id)

    def release(self) -> None:
        """Count no longer what waits on a connection that has ended."""
        for buffer in self.stream_buffers.values():
            if isinstance(buffer, _CountedBuffer):
                self.held.total -= len(buffer.buffer)
                buffer.buffer = bytearray()

    async def _wait_for_data(self) -> None:
        since = min((_since(buffer) for buffer in self.stream_buffers.values()), default=inf)
        with trio.CancelScope(deadline=since + self.write_timeout_s) as scope:
            await self.has_data.wait()
        if not scope.cancelled_caught:
            await self.has_data.clear()
        latest = trio.current_time() - self.write_timeout_s
        for stream_id, buffer in list(self.stream_buffers.items()):
            if _since(buffer) <= latest:
                await self._abandon(stream_id)


def _since(buffer: StreamBuffer) -> float:
    return buffer.since if isinstance(buffer, _CountedBuffer) else inf
