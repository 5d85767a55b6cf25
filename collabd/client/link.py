"""One WebSocket, from dialling to its end.

Law of this file: text messages over trio-websocket, and every way to end as one of three errors; it knows nothing of
what the messages say. Two things are done here that trio-websocket leaves open: a stream that ends during the
handshake is noticed at once, and what dies is closed without waiting for anyone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NoReturn, cast

import h11
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError as WebSocketProtocolError

from collabd.client.address import Address
from collabd.client.errors import ServerUnreachable
from collabd.client.http import Answer, Dial, bearer, describe, read_retry_after

_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_CHUNK: Final = 65_536


class LinkEnded(Exception):
    """The WebSocket is at its end: `code` None when it ended without a closing handshake."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class NeverOpened(Exception):
    """The stream came about, the WebSocket did not."""


class HandshakeRefused(Exception):
    """The server answered the upgrade with something else."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class Link:
    """An open WebSocket."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        """Send one text message. Raises LinkEnded."""
        try:
            await self._connection.send_message(text)
        except ConnectionClosed as closed:
            _raise_ended(closed)

    async def receive(self) -> str | bytes:
        """The next message. Raises LinkEnded."""
        try:
            return await self._connection.get_message()
        except ConnectionClosed as closed:
            _raise_ended(closed)

    async def close(self, code: int, timeout_s: float) -> None:
        """Close with the handshake, but wait for the peer no longer than `timeout_s`."""
        with trio.move_on_after(timeout_s):
            await self._connection.aclose(code)


def _raise_ended(closed: ConnectionClosed) -> NoReturn:
    reason = closed.reason
    if reason is None or reason.code in (1005, 1006):
        raise LinkEnded(None, "") from None
    raise LinkEnded(reason.code, reason.reason or "") from None


class _WatchedStream(trio.abc.Stream):
    """Passes everything through, and tells when the peer's bytes ended."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.ended = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        self.ended.set()
        await trio.aclose_forcefully(self._stream)


@asynccontextmanager
async def open_link(
    dial: Dial, address: Address, target: str, token: str | None, *, subprotocol: str = "collabd.v1"
) -> AsyncIterator[Link]:
    """Open a WebSocket for the length of a block; leaving the block drops it.

    Raises ServerUnreachable (not even a stream), NeverOpened, or HandshakeRefused.
    """
    try:
        stream = _WatchedStream(await dial(address))
    except OSError as error:
        raise ServerUnreachable(str(address), describe(error)) from error
    opened = False
    try:
        async with trio.open_nursery() as nursery:

            async def notice_early_end() -> None:
                await stream.ended.wait()
                if not opened:
                    raise NeverOpened

            nursery.start_soon(notice_early_end)
            connection = await wrap_client_stream(
                nursery,
                cast(trio.SocketStream, stream),  # any stream does; trio-websocket's annotation is too narrow
                address.host_header,
                target,
                subprotocols=[subprotocol],
                extra_headers=bearer(token),
                max_message_size=_MAX_MESSAGE_BYTES,
                receive_buffer_size=_CHUNK,
            )
            opened = True
            yield Link(connection)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        sole = _sole(group)
        if isinstance(sole, h11.ProtocolError | WebSocketProtocolError):  # trio-websocket trips over such peers
            sole = LinkEnded(None, "broken framing") if opened else NeverOpened()
        raise sole from None
    finally:
        await stream.aclose()


def _sole(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that a group is about: ours rather than a cancellation's."""
    rest = group.split(trio.Cancelled)[1]
    error: BaseException = group if rest is None else rest
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, ConnectionRejected):
        headers = list(error.headers or ())
        return HandshakeRefused(Answer(error.status_code, error.body or b"", read_retry_after(headers)))
    return error
