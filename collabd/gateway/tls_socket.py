"""A WebSocket over TLS in the daemon: the slower path, with a writer task per session (architecture, decision 8).

Law of this file: the same session code and the same reader as for a plain socket; only the moving of bytes differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from collabd.errors import ProtocolError
from collabd.gateway.handshake import Upgrade, refusal
from collabd.gateway.reader import FrameReader
from collabd.hub.buffered_link import BufferedLink
from collabd.hub.connection import Stage
from collabd.hub.joining import admit, counted_address, join
from collabd.protocol import close_codes

if TYPE_CHECKING:
    from collabd.gateway.guarded_stream import PacedStream
    from collabd.hub.connection import Connection
    from collabd.hub.hub import Hub

_READ_BYTES: Final = 65536
_GOODBYE_TIMEOUT: Final = 2.0


async def serve_tls(hub: Hub, stream: trio.SSLStream[PacedStream], upgrade: Upgrade) -> None:
    """Serve one upgraded connection on an encrypted stream until it ends."""
    link = BufferedLink(upgrade.caller.address, stream.send_all)
    with counted_address(hub, link.remote_address):
        try:
            if upgrade.refused is not None:
                raise upgrade.refused
            connection = join(
                hub, await admit(hub, upgrade.caller, upgrade.path, upgrade.query), link, upgrade.accept()
            )
        except ProtocolError as error:
            with trio.move_on_after(_GOODBYE_TIMEOUT):
                await stream.send_all(refusal(error))
                await stream.aclose()
            return
        reader = FrameReader(upgrade.max_message_bytes, connection)
        code: int | None = None
        reason = "connection lost"
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run_writer)
                with link.reading:
                    await _read(stream, reader, connection, upgrade.rest)
                code, reason = await _part(stream, link, reader, connection)
                nursery.cancel_scope.cancel()
        finally:
            connection.session.run.detach(connection, code, reason)


async def _read(stream: trio.SSLStream[PacedStream], reader: FrameReader, connection: Connection, rest: bytes) -> None:
    committer = connection.session.run.hub.committer
    if rest and not reader.feed(rest, trio.current_time()):
        return
    try:
        while connection.stage is not Stage.CLOSED:
            data = bytes(await stream.receive_some(_READ_BYTES))
            if not data or not reader.feed(data, trio.current_time()):
                return
            if committer.congested:
                await committer.wait_room()
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def _part(
    stream: trio.SSLStream[PacedStream], link: BufferedLink, reader: FrameReader, connection: Connection
) -> tuple[int | None, str]:
    code, reason = reader.close_code()
    if connection.close_code is not None:
        code, reason = connection.close_code, connection.close_reason
        if code != close_codes.ABNORMAL:
            reader.say_goodbye(code, reason)
    connection.session.run.fanout.remove(connection)
    link.end()  # the task that wrote its backlog, if there is one, goes
    with trio.move_on_after(_GOODBYE_TIMEOUT):
        try:
            await link.wait_written()
            await stream.send_all(connection.take_unsent() + reader.last_words)
            await _read_to_the_end(stream.transport_stream)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    return code, reason


async def _read_to_the_end(stream: PacedStream) -> None:
    """Closing with unread bytes would reset what was just written, the close frame with it."""
    await stream.send_eof()
    while await stream.receive_some(_READ_BYTES):
        pass
