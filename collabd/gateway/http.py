"""Handing HTTP to Hypercorn: one connection at a time, with its faults contained.

Law of this file: with http1.py, http2.py, http_socket.py and http_tasks.py the only one that knows Hypercorn's inside
(hypercorn ~= 0.18.0 is pinned; a test fails loudly when what is used here changes). Hypercorn's Trio worker lets any
exception in its protocol code reach the server's nursery; here it ends one connection.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from collabd.gateway.guarded_stream import GuardedStream
from collabd.gateway.http1 import StrictH11
from collabd.gateway.http2 import BoundedH2, Held
from collabd.gateway.http_socket import HttpConfig
from collabd.gateway.http_tasks import AppTasks
from collabd.gateway.idle_timer import IdleTimer

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from collabd.hub.turnstile import Turnstile

logger = logging.getLogger("collabd.gateway")

_LINGER_S: Final = 2.0
"""Seconds in which what a client still sends after its answer is read and thrown away: a body, mostly."""
_SHORT_LINGER_S: Final = 0.2
"""The same behind a head that was refused."""
_MAX_READ: Final = 65536
_MAX_AT_ONCE: Final = 65536
"""Bytes of an answer that are written without giving others a turn."""


class _Connection(TCPServer):
    """One HTTP connection on a stream that was accepted, and perhaps encrypted, elsewhere."""

    stream: Any
    begun: Callable[[], None]
    _http: StrictH11 | BoundedH2
    _reading: trio.CancelScope
    _idle: IdleTimer

    async def protocol_send(self, event: Any) -> None:
        """Send bytes, close, or note that the connection is idle: all of it, whatever happens meanwhile.

        The end of an answer cancels the app that gives it, and it is that app's task that comes here to say so. Cut
        short, the connection would stay open with nobody to serve it. Writing and closing have deadlines of their own.
        """
        if isinstance(event, Updated):
            self._idle.note(idle=event.idle)
            if not event.idle:
                self.begun()  # only now: while it is idle, the server's end would close the connection
        elif isinstance(event, RawData):
            await self._send(event.data)
        else:
            with trio.CancelScope(shield=True):
                await self._end(event)

    async def _send(self, data: bytes) -> None:
        # The common way: a short answer, which the kernel takes at once.
        if len(data) <= _MAX_AT_ONCE and not self.send_lock.locked():
            data = data[self.stream.send_at_once(data) :]
        if data:
            with trio.CancelScope(shield=True):
                await super().protocol_send(RawData(data))

    async def _end(self, event: Closed) -> None:
        http = self._http
        if isinstance(http, StrictH11) and http.has_more_to_come:
            await self._linger(_SHORT_LINGER_S if http.has_bad_head else _LINGER_S)
        else:
            await super().protocol_send(event)

    async def _linger(self, seconds: float) -> None:
        """End our side and leave the rest to the reader.

        Closing with unread bytes would reset the connection, and the answer with it (RFC 9112, section 9.6).
        """
        if self._reading.deadline == inf:
            self._reading.deadline = trio.current_time() + seconds
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
                await self.stream.send_eof()
            await self.protocol.handle(Closed())

    async def _read_data(self) -> None:
        with self._reading:
            while True:
                try:
                    data = await self.stream.receive_some(_MAX_READ)
                except (trio.ClosedResourceError, trio.BrokenResourceError):
                    break
                if self._reading.deadline == inf:
                    await self.protocol.handle(RawData(bytes(data)))
                if not data:
                    break
        with trio.CancelScope(shield=True):
            await self.protocol.handle(Closed())

    async def serve(
        self, client: tuple[str, int], server: tuple[str, int], *, tls: bool, http2: type[BoundedH2] | None
    ) -> None:
        """Run until the peer or the server is done with it, with HTTP/2 where a class for it is given."""
        self._reading = trio.CancelScope()
        try:
            async with AppTasks() as task_group:
                self._task_group = task_group
                arguments = (self.app, self.config, self.context, task_group, ConnectionState(self.state), tls)
                self.protocol = ProtocolWrapper(*arguments, client, server, self.protocol_send, "http/1.1")
                self._http = (http2 or StrictH11)(*arguments, client, server, self.protocol_send)
                self.protocol.protocol = self._http
                await self.protocol.initiate()
                self._idle = IdleTimer(self.config.keep_alive_timeout, self._initiate_server_close)
                task_group.spawn(self._idle.run, self.context.terminated)
                await self._read_data()
                # Without this the socket of a client that is gone would stay open for the keep-alive timeout.
                self._idle.stop()
        except OSError:
            pass
        finally:
            if isinstance(self._http, BoundedH2):
                self._http.release()
            await self._close()


class HttpServer:
    """Serves HTTP connections with the Quart-Trio app; `stop` ends them all without waiting for peers.

    `messages` is how many pings a WebSocket of Hypercorn's may send per second (0: any), and at once.
    """

    def __init__(
        self,
        app: QuartTrio,
        *,
        turnstile: Turnstile,
        write_timeout_s: float,
        max_message_bytes: int,
        max_head_bytes: int,
        messages: tuple[float, float] = (0, 1),
    ) -> None:
        config = HttpConfig()
        config.messages_per_second, config.message_burst = messages
        config.include_server_header = False
        config.errorlog = logging.getLogger("collabd.http")
        config.keep_alive_timeout = 60
        config.keep_alive_max_requests = 1_000_000
        config.h11_max_incomplete_size = max_head_bytes
        config.websocket_max_message_size = max_message_bytes
        self._config = config
        bounds = {"held": Held(), "write_timeout_s": write_timeout_s}
        self._http2 = type("BoundedH2", (BoundedH2,), bounds)
        self._app = wrap_app(app, config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._write_timeout_s = write_timeout_s
        self._turnstile = turnstile
        self._streams: set[GuardedStream] = set()
        self._stream_ended = trio.Event()
        self._fresh: set[GuardedStream] = set()
        self._none_is_fresh = trio.Event()

    def reconfigure(self, *, write_timeout_s: float, max_head_bytes: int) -> None:
        """Hold connections that come from now on to other limits."""
        self._write_timeout_s = write_timeout_s
        self._config.h11_max_incomplete_size = max_head_bytes

    async def serve(
        self,
        stream: trio.abc.Stream,
        first_bytes: bytes,
        *,
        client: tuple[str, int],
        server: tuple[str, int],
        sock: socket.socket | None = None,
        tls: bool = False,
        http2: bool = False,
    ) -> None:
        """Serve one connection; nothing that a peer does raises from here. `sock` is that of a plain stream."""
        guarded = GuardedStream(stream, first_bytes, self._write_timeout_s, self._turnstile, sock)
        self._streams.add(guarded)
        self._fresh.add(guarded)
        connection = _Connection(self._app, self._config, self._context, {}, guarded)  # type: ignore[arg-type]
        connection.begun = partial(self._has_begun, guarded)
        try:
            await connection.serve(client, server, tls=tls, http2=self._http2 if http2 else None)
        except* Exception as group:
            logger.warning("an HTTP connection from %s was ended by a fault: %r", client[0], group.exceptions[0])
        finally:
            self._has_begun(guarded)
            self._streams.discard(guarded)
            self._stream_ended.set()
            self._stream_ended = trio.Event()
            with trio.CancelScope(shield=True):
                await guarded.abandon()

    def _has_begun(self, stream: GuardedStream) -> None:
        self._fresh.discard(stream)
        if not self._fresh:
            self._none_is_fresh.set()
            self._none_is_fresh = trio.Event()

    async def wait_begun(self) -> None:
        """Return once every connection is at its first request: before that, `stop` takes it for idle and closes it."""
        while self._fresh:
            await self._none_is_fresh.wait()

    async def stop(self, grace_s: float) -> None:
        """Let running requests end for so many seconds, then close what is left, even under a shielded send."""
        await self._context.terminated.set()
        with trio.move_on_after(grace_s):
            while self._streams:
                await self._stream_ended.wait()
        for stream in list(self._streams):
            await stream.abandon()
