"""Handing HTTP to Hypercorn: one connection at a time, with its faults contained.

Law of this file: with http_socket.py and http_tasks.py the only one that knows Hypercorn's inside (hypercorn ~= 0.18.0
is pinned; a test fails loudly when what is used here changes). Hypercorn's Trio worker lets any exception in its
protocol code reach the server's nursery; here it ends one connection.
"""

from __future__ import annotations

import logging
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from collabd.gateway.guarded_stream import GuardedStream
from collabd.gateway.http_socket import CarefulH2, CarefulSocket
from collabd.gateway.http_tasks import AppTasks

if TYPE_CHECKING:
    from quart_trio import QuartTrio

    from collabd.hub.turnstile import Turnstile

logger = logging.getLogger("collabd.gateway")

_DROPPED_HEADER = b"sec-websocket-extensions"


def _without_extensions(headers: Any) -> list[tuple[bytes, bytes]]:
    # permessage-deflate is never negotiated: 59 kB of it were measured to peak at 223 MiB.
    return [(name, value) for name, value in headers if name.lower() != _DROPPED_HEADER]


class _PlainH11(H11Protocol):
    """HTTP/1.1 that stays HTTP/1.1: an offer to change to h2c is ignored (RFC 9110, section 7.8).

    An answer's head waits for its body, so that a short answer is one write and not three.
    """

    _held = b""

    async def _check_protocol(self, event: h11.Request) -> None:
        return

    async def _create_stream(self, request: h11.Request) -> None:
        refused = self._refused_with(request)
        if refused is not None:
            await self._send_error_response(refused)
            await self.send(Closed())
            return
        if any(name == _DROPPED_HEADER for name, _ in request.headers):
            request = h11.Request(
                method=request.method,
                target=request.target,
                http_version=request.http_version,
                headers=_without_extensions(request.headers),
            )
        await super()._create_stream(request)
        _make_careful(self.stream)

    def _refused_with(self, request: h11.Request) -> int | None:
        """The status for a request that goes no further: an upgrade with a body, or a head that came whole but large.

        h11 counts only heads that come in several pieces, and switches protocols only behind a request without a body.
        """
        size = sum(len(name) + len(value) + 4 for name, value in request.headers) + len(request.target)
        if size > self.config.h11_max_incomplete_size:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        names = {name for name, value in request.headers if value != b"0"}
        if b"upgrade" in names and names & {b"content-length", b"transfer-encoding"}:
            return HTTPStatus.BAD_REQUEST
        return None

    async def _send_h11_event(self, event: Any) -> None:
        if isinstance(event, h11.Response) and self.connection.their_state is h11.SEND_BODY:
            # Answered before the request was read to its end, as what is too big is: nothing can follow it
            # (RFC 9112, section 9.6), so the client should not try.
            event = h11.Response(status_code=event.status_code, headers=[*event.headers, (b"connection", b"close")])
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._held = data
            return
        data, self._held = self._held + data, b""
        if data:
            await self.send(RawData(data=data))


class _H2WithoutExtensions(CarefulH2):
    async def _create_stream(self, request: Any) -> None:
        request.headers = _without_extensions(request.headers)
        await super()._create_stream(request)
        _make_careful(self.streams.get(request.stream_id))


def _make_careful(stream: object) -> None:
    # Hypercorn offers no place to say which class it should make.
    if isinstance(stream, WSStream):
        stream.__class__ = CarefulSocket


class _Connection(TCPServer):
    """One HTTP connection on a stream that was accepted, and perhaps encrypted, elsewhere."""

    stream: Any
    _has_ended = False

    async def protocol_send(self, event: Any) -> None:
        """Send bytes, close, or note that the connection is idle: all of it, whatever happens meanwhile.

        The end of an answer cancels the app that gives it, and it is that app's task that comes here to say so. Cut
        short, the connection would stay open with nobody to serve it. Writing and closing have deadlines of their own.
        """
        if self._has_ended and isinstance(event, Updated):
            return  # that would start the timer of an idle connection, which nothing stops any more
        with trio.CancelScope(shield=True):
            await super().protocol_send(event)

    async def serve(self, client: tuple[str, int], server: tuple[str, int], *, tls: bool, http2: bool) -> None:
        """Run until the peer or the server is done with it."""
        protocol_class = _H2WithoutExtensions if http2 else _PlainH11
        try:
            async with AppTasks() as task_group:
                self._task_group = task_group
                arguments = (self.app, self.config, self.context, task_group, ConnectionState(self.state), tls)
                self.protocol = ProtocolWrapper(*arguments, client, server, self.protocol_send, "http/1.1")
                self.protocol.protocol = protocol_class(*arguments, client, server, self.protocol_send)
                await self.protocol.initiate()
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                await self._read_data()
                # Without this the socket of a client that is gone would stay open for the keep-alive timeout.
                self._has_ended = True
                await self.idle_task.stop()
        except OSError:
            pass
        finally:
            await self._close()


class HttpServer:
    """Serves HTTP connections with the Quart-Trio app; `stop` ends them all without waiting for peers."""

    def __init__(
        self,
        app: QuartTrio,
        *,
        turnstile: Turnstile,
        write_timeout_s: float,
        max_message_bytes: int,
        max_head_bytes: int,
    ) -> None:
        config = HypercornConfig()
        config.include_server_header = False
        config.errorlog = logging.getLogger("collabd.http")
        config.keep_alive_timeout = 60
        config.keep_alive_max_requests = 1_000_000
        config.h11_max_incomplete_size = max_head_bytes
        config.websocket_max_message_size = max_message_bytes
        self._config = config
        self._app = wrap_app(app, config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._write_timeout_s = write_timeout_s
        self._turnstile = turnstile
        self._streams: set[GuardedStream] = set()
        self._stream_ended = trio.Event()

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
        connection = _Connection(self._app, self._config, self._context, {}, guarded)  # type: ignore[arg-type]
        try:
            await connection.serve(client, server, tls=tls, http2=http2)
        except* Exception as group:
            logger.warning("an HTTP connection from %s was ended by a fault: %r", client[0], group.exceptions[0])
        finally:
            self._streams.discard(guarded)
            self._stream_ended.set()
            self._stream_ended = trio.Event()
            with trio.CancelScope(shield=True):
                await guarded.abandon()

    async def stop(self, grace_s: float) -> None:
        """Let running requests end for so many seconds, then close what is left, even under a shielded send."""
        await self._context.terminated.set()
        with trio.move_on_after(grace_s):
            while self._streams:
                await self._stream_ended.wait()
        for stream in list(self._streams):
            await stream.abandon()
