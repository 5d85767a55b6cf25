"""The stream that Hypercorn gets: first bytes put back, writes with a deadline, and an end that nobody can hold up.

Law of this file: it works around what was measured of Hypercorn 0.18's Trio worker (docs/architecture.md): sends are
shielded from cancellation and have no deadline, so one peer that stops reading would hold its task for ever.
"""

from __future__ import annotations

import socket

import trio

_PIECE = 65536


class GuardedStream(trio.abc.HalfCloseableStream):
    """A plain TCP stream whose first bytes were already read.

    `sock` is the plain socket below, if it is one: what it takes at once needs no deadline.
    `write_timeout_s` is how long a peer may stand still while something is written to it.
    """

    def __init__(
        self, stream: trio.abc.Stream, first_bytes: bytes, write_timeout_s: float, sock: socket.socket | None = None
    ) -> None:
        self._stream = stream
        self._sock = sock
        self._first_bytes = first_bytes
        self._write_timeout_s = write_timeout_s

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The bytes put back, then the peer's."""
        if self._first_bytes:
            await trio.lowlevel.checkpoint()
            size = max_bytes or len(self._first_bytes)
            data, self._first_bytes = self._first_bytes[:size], self._first_bytes[size:]
            return data
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send in pieces; a peer that takes none for the write timeout is given up (trio.BrokenResourceError)."""
        view = memoryview(data)
        if self._sock is not None:
            view = view[_send_now(self._sock, view) :]
        for start in range(0, len(view), _PIECE):
            try:
                with trio.fail_after(self._write_timeout_s):
                    await self._stream.send_all(view[start : start + _PIECE])
            except trio.TooSlowError as error:
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError("the peer does not read") from error

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Half-close where the stream below can."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close at once: TLS's goodbye may not wait for a peer either."""
        with trio.move_on_after(1):
            await self._stream.aclose()

    async def abandon(self) -> None:
        """Close without a word, so that even a shielded send ends (it raises trio.ClosedResourceError)."""
        await trio.aclose_forcefully(self._stream)


def _send_now(sock: socket.socket, data: memoryview) -> int:
    """Hand over what the kernel takes without waiting; answers how many bytes."""
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise trio.BrokenResourceError from error
