"""The gateway: accepts connections, reads the first head, and sends each its way.

Law of this file: limits hold before trust. A connection has a deadline and a bound for TLS and its head, and nothing
that happens on it reaches another one.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import trio

from collabd.errors import ProtocolError
from collabd.gateway.crowd import Crowd
from collabd.gateway.guarded_stream import PacedStream
from collabd.gateway.handshake import Upgrade, refusal
from collabd.gateway.head import Kind, tell_kind
from collabd.gateway.listener import Accepted, plain_host
from collabd.gateway.plain_socket import serve_plain
from collabd.gateway.poller import Poller
from collabd.gateway.tls_socket import serve_tls
from collabd.protocol.addresses import is_loopback_address

if TYPE_CHECKING:
    from collabd.config import Config
    from collabd.gateway.http import HttpServer
    from collabd.hub.hub import Hub

logger = logging.getLogger("collabd.gateway")

_READ_BYTES: Final = 65536
_GOODBYE_TIMEOUT: Final = 2.0


class Gateway:
    """Serves every connection that `listeners` accept, until its nursery is cancelled."""

    def __init__(self, hub: Hub, http: HttpServer, tls: ssl.SSLContext | None) -> None:
        self._hub = hub
        self._http = http
        self._poller = Poller()
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        self._prefix = unquote(self._config.server.path_prefix)
        self._limited = hub.counters.limited
        self._crowd = Crowd(lambda: hub.config.limits.sockets_per_address, self._has_no_address_of_its_own)
        self._greeting = 0
        self._greeted = trio.Event()

    @property
    def _config(self) -> Config:
        """As it is now: a reload may change it."""
        return self._hub.config

    def _has_no_address_of_its_own(self, peer: str) -> bool:
        return is_loopback_address(peer) or self._hub.proxies.is_trusted(peer)

    async def read_sockets(self) -> None:
        """Read plain WebSockets as bytes come; runs until cancelled. Readers pause while the store is behind."""
        await self._poller.run(self._hub.tick, self._hub.committer.wait_room)

    async def wait_room(self) -> None:
        """Wait while a crowd of those accepted has not been heard yet."""
        await self._hub.turnstile.wait_short()

    async def wait_greeted(self) -> None:
        """Return once the first request of everybody who was accepted is read, or its time is over."""
        while self._greeting:
            await self._greeted.wait()

    @contextmanager
    def _greets(self) -> Iterator[None]:
        self._greeting += 1
        try:
            yield
        finally:
            self._greeting -= 1
            if not self._greeting:
                self._greeted.set()
                self._greeted = trio.Event()

    async def handle(self, accepted: Accepted) -> None:
        """Serve one accepted connection; nothing that a peer does raises from here."""
        sock, client = accepted.sock, accepted.client
        try:
            with self._crowd.joined(client[0]) as has_room:
                if not has_room:
                    self._turn_away(sock)
                elif self._tls is None:
                    await self._handle_plain(sock, client)
                else:
                    await self._handle_tls(_stream(sock), self._tls, client)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Exception:
            logger.exception("a connection was ended by a fault of the server")

    def _turn_away(self, sock: socket.socket) -> None:
        """Say why, if the socket takes it at once; a crowd is not waited for."""
        self._limited["sockets_per_address"] += 1
        if self._tls is None:
            sock.send(refusal(ProtocolError("too_many_connections", "your address has too many connections open")))

    async def _handle_plain(self, sock: socket.socket, client: tuple[str, int]) -> None:
        with self._greets():
            head, kind, end = await self._read_head(partial(_receive, sock))
        if kind is Kind.WEBSOCKET:
            serving = serve_plain(self._hub, self._poller, sock, self._upgrade(head, end, client))
            del head  # an idle connection keeps no byte of its request
            await serving
        elif kind is Kind.HTTP:
            await self._http.serve(_stream(sock), head, client=client, server=_own_address(sock), sock=sock)
        else:
            await _refuse(_stream(sock), kind)

    async def _handle_tls(self, stream: trio.SocketStream, context: ssl.SSLContext, client: tuple[str, int]) -> None:
        transport = PacedStream(stream, self._hub.turnstile)
        secure = trio.SSLStream(transport, context, server_side=True, https_compatible=True)
        try:
            with self._greets(), trio.fail_after(self._config.server.handshake_timeout_s):
                await secure.do_handshake()
            transport.is_paced = False
        except trio.TooSlowError:
            self._limited["handshake_timeout_s"] += 1
            return
        except trio.BrokenResourceError:
            return
        server = _own_address(stream.socket)
        if secure.selected_alpn_protocol() == "h2":
            await self._http.serve(secure, b"", client=client, server=server, tls=True, http2=True)
            return
        with self._greets():
            head, kind, end = await self._read_head(partial(secure.receive_some, _READ_BYTES))
        if kind is Kind.WEBSOCKET:
            await serve_tls(self._hub, secure, self._upgrade(head, end, client))
        elif kind is Kind.HTTP:
            await self._http.serve(secure, head, client=client, server=server, tls=True)
        else:
            await _refuse(secure, kind)

    def _upgrade(self, head: bytes, end: int, client: tuple[str, int]) -> Upgrade:
        return Upgrade(
            head[:end],
            head[end:],
            peer=client[0],
            scheme=self._scheme,
            proxies=self._hub.proxies,
            max_message_bytes=self._config.websocket.max_message_bytes,
            prefix=self._prefix,
        )

    async def _read_head(self, receive: Callable[[], Awaitable[bytes | bytearray]]) -> tuple[bytes, Kind, int]:
        """The first request's head and what came with it. Slow or silent peers are ended by the deadline."""
        limit = self._config.limits.request_head_max_bytes
        received = b""
        with trio.move_on_after(self._config.server.handshake_timeout_s) as deadline:
            while True:
                data = await receive()
                if not data:
                    break
                await self._hub.turnstile.pass_through()
                received += data
                kind, end = tell_kind(received, limit)
                if kind is Kind.TOO_LARGE:
                    self._limited["request_head_max_bytes"] += 1
                if kind is not Kind.INCOMPLETE:
                    return received, kind, end
        if deadline.cancelled_caught:
            self._limited["handshake_timeout_s"] += 1
        return received, Kind.INCOMPLETE, 0


async def _refuse(stream: trio.abc.Stream, kind: Kind) -> None:
    """Answer what cannot be served where an answer makes sense, and close."""
    if kind is Kind.TOO_LARGE:
        error = ProtocolError("message_too_big", "the request's head is too large")
    elif kind is Kind.HTTP2_PREFACE:
        error = ProtocolError("invalid_parameter", "HTTP/2 is spoken over TLS only")
    else:
        return
    with trio.move_on_after(_GOODBYE_TIMEOUT):
        await stream.send_all(refusal(error))
        await stream.aclose()


async def _receive(sock: socket.socket) -> bytes:
    """Bytes of a plain socket; a client's request is usually there already."""
    while True:
        try:
            return sock.recv(_READ_BYTES)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)


def _stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def _own_address(sock: socket.socket | trio.socket.SocketType) -> tuple[str, int]:
    """The address that the peer connected to, as (host, port); empty for a Unix socket."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return ("", 0)
    own = sock.getsockname()
    return (plain_host(own[0]), own[1])
