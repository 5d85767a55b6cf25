"""A plain socket as a link: its `send` is the operating system's own.

Law of this file: an implementation of collabd.hub.link.Link, so thin that fan-out costs one system call per member and
nothing else (docs/performance.md). `os.write` takes its arguments faster than `socket.send` does.
"""

from __future__ import annotations

import os
import socket
from functools import partial

import trio


class PlainLink:
    """A non-blocking TCP or Unix socket."""

    __slots__ = ("_sock", "ended", "remote_address", "send")
    hears_pongs = True

    def __init__(self, sock: socket.socket, remote_address: str) -> None:
        self._sock = sock
        self.remote_address = remote_address
        self.send = partial(os.write, sock.fileno())
        """Not to be called once the socket is closed: its number may be another's then (Connection.lose_socket)."""
        self.ended = trio.Event()
        """Set when the hub ends the connection, or its bytes have come to an end."""

    async def wait_writable(self) -> None:
        """Wait until the kernel takes bytes again."""
        await trio.lowlevel.wait_writable(self._sock)

    def end(self) -> None:
        """Wake whoever waits for the socket; it stays open for a goodbye."""
        self.ended.set()
        trio.lowlevel.notify_closing(self._sock)
