"""Accepting connections as plain non-blocking sockets.

Law of this file: what is cheap for one connection and dear for five thousand at once is done here with the operating
system's own calls: no stream objects before it is known what a connection wants.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio

logger = logging.getLogger("collabd.gateway")

BACKLOG: Final = 4096
_AT_ONCE: Final = 16
"""Connections accepted in one go before others get a turn."""

_SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""What accept(2) says when the system, not the peer, is the reason."""

_RETRY_S: Final = 0.1
_SILENCE_S: Final = 60.0
"""A shortage is said once a minute: it may come and go with every connection that ends."""


class Accepted(trio.abc.AsyncResource):
    """A new connection; `client` is its peer as (host, port), empty for a Unix socket."""

    __slots__ = ("client", "sock")

    def __init__(self, sock: socket.socket, client: tuple[str, int]) -> None:
        self.sock = sock
        self.client = client

    async def aclose(self) -> None:
        """Close the socket, whoever still waits for it."""
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()
        await trio.lowlevel.checkpoint()


class SocketListener(trio.abc.Listener[Accepted]):
    """Accepts from one listening socket, for trio.serve_listeners."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._waiting: deque[Accepted] = deque()

    @property
    def has_accepted(self) -> bool:
        """Whether `accept` has a connection at hand, and will not wait."""
        return bool(self._waiting)

    async def accept(self) -> Accepted:
        """The next connection. Raises OSError, as when no file descriptor is left."""
        if self._waiting:
            return self._waiting.popleft()
        await trio.lowlevel.checkpoint()
        while not self._accept_some():
            await trio.lowlevel.wait_readable(self.sock)
        return self._waiting.popleft()

    def _accept_some(self) -> bool:
        try:
            for _ in range(_AT_ONCE):
                sock, address = self.sock.accept()
                sock.setblocking(False)
                if sock.family in (socket.AF_INET, socket.AF_INET6):
                    # Small messages must not wait for the ACK of earlier ones (RFC 896's algorithm off).
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._waiting.append(Accepted(sock, (plain_host(address[0]), address[1])))
                else:
                    self._waiting.append(Accepted(sock, ("", 0)))
        except (BlockingIOError, ConnectionAbortedError):
            pass
        except OSError:
            if not self._waiting:
                raise
        return bool(self._waiting)

    async def aclose(self) -> None:
        """Stop listening; what was accepted and not yet handed over is closed."""
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()
        while self._waiting:
            self._waiting.popleft().sock.close()
        await trio.lowlevel.checkpoint()


async def serve_connections(
    listener: SocketListener,
    handle: Callable[[Accepted], Awaitable[None]],
    wait_room: Callable[[], Awaitable[None]],
    handlers: trio.Nursery,
) -> None:
    """Accept until cancelled, and handle each connection in a task of `handlers`, which closes it.

    `wait_room` is awaited before more are accepted. Without a free file descriptor newcomers wait in the kernel's
    queue, and those who are in go on. Raises OSError when the socket itself fails.
    """
    silent_until = -_SILENCE_S
    async with listener:
        while True:
            if not listener.has_accepted:
                await wait_room()
            try:
                accepted = await listener.accept()
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    raise
                if trio.current_time() >= silent_until:
                    silent_until = trio.current_time() + _SILENCE_S
                    why = os.strerror(error.errno)
                    logger.error("new connections wait: %s; raise LimitNOFILE, or lower limits.connections", why)
                await trio.sleep(_RETRY_S)
            else:
                handlers.start_soon(_handle, handle, accepted)


async def _handle(handle: Callable[[Accepted], Awaitable[None]], accepted: Accepted) -> None:
    try:
        await handle(accepted)
    finally:
        await trio.aclose_forcefully(accepted)


async def open_listeners(host: str, port: int) -> list[SocketListener]:
    """Listen on every address of a host; port 0 picks one. Raises OSError."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[SocketListener] = []
    try:
        for family, _, _, _, address in found:
            sock = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(SocketListener(sock))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
    except OSError:
        for listener in listeners:
            listener.sock.close()
        raise
    return listeners


def plain_host(host: str) -> str:
    """An address as people write it: a dual-stack socket reports IPv4 peers as ::ffff:192.0.2.1."""
    return host.removeprefix("::ffff:") if "." in host else host
