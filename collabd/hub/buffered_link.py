"""A link over something that can only be awaited: a TLS stream, or an ASGI server's send.

Law of this file: an implementation of collabd.hub.link.Link with one writer task, owned by whoever serves the link.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class BufferedLink:
    """Takes one piece at a time and is full until its writer task has written it.

    Meanwhile the connection counts as backlogged, so that the same bounds hold as for plain sockets.
    """

    def __init__(
        self, remote_address: str, write: Callable[[bytes], Awaitable[None]], *, hears_pongs: bool = True
    ) -> None:
        self.remote_address = remote_address
        self.hears_pongs = hears_pongs
        self._write = write
        self._piece: bytes = b""
        self._has_piece = trio.Event()
        self._is_free = trio.Event()
        self._written = trio.Event()
        self._broken = False
        self.reading = trio.CancelScope()
        """The scope in which the link's task reads; cancelled when the hub ends the connection."""

    def send(self, data: bytes | memoryview, /) -> int:
        """Take a piece if the writer is free. Raises BlockingIOError, or OSError when writing has failed."""
        if self._broken:
            raise BrokenPipeError("the peer is gone")
        if self._piece:
            raise BlockingIOError
        self._piece = bytes(data)
        self._is_free = trio.Event()
        self._written = trio.Event()
        self._has_piece.set()
        return len(data)

    async def wait_writable(self) -> None:
        """Wait until the writer has written its piece."""
        if not self._piece:
            await trio.lowlevel.checkpoint()
            return
        await self._is_free.wait()

    def end(self) -> None:
        """Stop reading, so that the task that serves this link says goodbye."""
        self.reading.cancel()
        self._is_free.set()

    async def run_writer(self) -> None:
        """Write pieces as they come, until cancelled."""
        while True:
            await self._has_piece.wait()
            self._has_piece = trio.Event()
            try:
                await self._write(self._piece)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                self._broken = True
                self.end()
                self._written.set()
                return
            self._piece = b""
            self._is_free.set()
            self._written.set()

    async def wait_written(self) -> None:
        """Wait until nothing is left to write. For when nothing more is sent."""
        if self._piece and not self._broken:
            await self._written.wait()
