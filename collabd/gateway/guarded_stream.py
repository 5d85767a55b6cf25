"""The stream that Hypercorn gets: first bytes put back, writes with a deadline, and an end that nobody can hold up.

Law of this file: it works around what was measured of Hypercorn 0.18's Trio worker (docs/architecture.md): sends are
shielded from cancellation and have no deadline, so one peer that stops reading would hold its task for ever.
"""

from __future__ import annotations

import socket

import trio

from collabd.hub.turnstile import Turnstile

_PIECE = 65536


class PacedStream(trio.abc.HalfCloseableStream):
    """A plain stream under TLS: while `is_paced`, what comes is taken through a turnstile.

    The step of a handshake that follows takes about a millisecond of processor time, and a crowd's come together.
    """

    def __init__(self, stream: trio.SocketStream, turnstile: Turnstile) -> None:
        self.is_paced = True
        self._stream = stream
        self._turnstile = turnstile

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The peer's bytes."""
        data = bytes(await self._stream.receive_some(max_bytes))
        if self.is_paced:
            await self._turnstile.pass_through()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream below."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """As the stream below."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As the stream below."""
        await self._stream.aclose()


class GuardedStream(trio.abc.HalfCloseableStream):
    """A plain TCP stream whose first bytes were already read.

    `sock` is the plain socket below, if it is one: what it takes at once needs no deadline.
    `write_timeout_s` is how long a peer may stand still while something is written to it.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        first_bytes: bytes,
        write_timeout_s: float,
        turnstile: Turnstile,
        sock: socket.socket | None = None,
    ) -> None:
        self._stream = stream
        self._sock = sock
        self._first_bytes = first_bytes
        self._write_timeout_s = write_timeout_s
        self._turnstile = turnstile

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The bytes put back, then the peer's, which are the next request: it waits for its turn in a crowd."""
        if self._first_bytes:
            await trio.lowlevel.checkpoint()
            size = max_bytes or len(self._first_bytes)
            data, self._first_bytes = self._first_bytes[:size], self._first_bytes[size:]
            return data
        data = bytes(await self._stream.receive_some(max_bytes))
        await self._turnstile.pass_through()
        return data

    def send_at_once(self, data: bytes) -> int:
        """Hand over what the kernel takes without waiting; answers how many bytes. What is wrong, `send_all` says."""
        if self._sock is None:
            return 0
        try:
            return self._sock.send(data)
        except OSError:
            return 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send in pieces; a peer that takes none for the write timeout is given up (trio.BrokenResourceError)."""
        view = memoryview(data)
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
