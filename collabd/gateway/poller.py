"""One epoll for all plain WebSockets: what is readable in a tick is read in one go.

Law of this file: it knows sockets and who reads them, nothing of frames. To wait through Trio for each socket costs a
task switch and an epoll_ctl for every message; here a tick costs one wake-up, and a socket is registered once
(docs/performance.md). Level-triggered (epoll(7)): what is left unread is told again.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from collabd.hub.tick import Tick

_AT_ONCE: Final = 256
"""Sockets read before others get a turn."""

_READ_ON_S: Final = 0.001
"""How long what comes meanwhile is read in the same turn, in seconds: a flood is not waited out."""


class Poller:
    """Calls `readable` of each watched socket that has bytes, or has ended. One task runs it.

    `readable` must not raise and must not wait.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readable: dict[int, Callable[[float], None]] = {}

    def watch(self, sock: socket.socket, readable: Callable[[float], None]) -> None:
        """Begin to call `readable`, with the steady time in seconds, when the socket has bytes. Raises OSError."""
        fd = sock.fileno()
        self._epoll.register(fd, select.EPOLLIN)
        self._readable[fd] = readable

    def forget(self, sock: socket.socket) -> None:
        """Stop watching; has to come before the socket is closed, whose number may then be another's."""
        fd = sock.fileno()
        if self._readable.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    async def run(self, tick: Tick, pause: Callable[[], Awaitable[None]]) -> None:
        """Read what is readable until cancelled, each round in a tick.

        `pause` is awaited between two rounds, for backpressure.
        """
        fd = self._epoll.fileno()
        while True:
            await trio.lowlevel.wait_readable(fd)
            tick.gather(self._read_all_there_is)
            await pause()

    def _read_all_there_is(self) -> None:
        """Read until nothing is readable, or others are due after a millisecond or so many sockets.

        What comes while the first messages are read is told with them: a tick of one message and one of thirty would
        cost every member two writes (docs/performance.md, "Reading").
        """
        left, now = _AT_ONCE, trio.current_time()
        until = now + _READ_ON_S
        while left > 0 and now <= until and (ready := self._epoll.poll(0, left)):
            left -= len(ready)
            for fd, _ in ready:
                readable = self._readable.get(fd)
                if readable is not None:  # else forgotten by one that was called before it
                    readable(now)
            now = trio.current_time()
