"""A WebSocket over a plain socket: the task that reads it, from upgrade to goodbye.

Law of this file: one task per connection, which waits for its end; what is read meanwhile is the poller's doing.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

from collabd.errors import ProtocolError
from collabd.gateway.handshake import Upgrade, refusal
from collabd.gateway.plain_link import PlainLink
from collabd.gateway.poller import Poller
from collabd.gateway.reader import FrameReader
from collabd.hub.joining import admit, counted_address, join
from collabd.protocol import close_codes

if TYPE_CHECKING:
    from collabd.hub.connection import Connection
    from collabd.hub.hub import Hub

READ_BYTES: Final = 65536
GOODBYE_TIMEOUT: Final = 2.0
"""Seconds that a peer has to take our close frame and answer it."""


async def serve_plain(hub: Hub, poller: Poller, sock: socket.socket, upgrade: Upgrade) -> None:
    """Serve one upgraded connection on a non-blocking socket until it ends."""
    link = PlainLink(sock, upgrade.caller.address)
    with counted_address(hub, link.remote_address):
        connection = await _open(hub, sock, link, upgrade)
        if connection is None:
            return
        reader, rest = FrameReader(upgrade.max_message_bytes, connection), upgrade.rest
        del upgrade  # an idle connection keeps no byte of its request
        code: int | None = None
        reason = "connection lost"
        try:
            await _read(poller, sock, link, reader, rest)
            code, reason = await _part(sock, link, reader, connection)
        finally:
            connection.session.run.detach(connection, code, reason)


async def _open(hub: Hub, sock: socket.socket, link: PlainLink, upgrade: Upgrade) -> Connection | None:
    try:
        if upgrade.refused is not None:
            raise upgrade.refused
        admitted = await admit(hub, upgrade.caller, upgrade.path, upgrade.query)
        return join(hub, admitted, link, upgrade.accept())
    except ProtocolError as error:
        await _write(sock, refusal(error))
        return None


async def _read(poller: Poller, sock: socket.socket, link: PlainLink, reader: FrameReader, rest: bytes) -> None:
    """Have the socket read until the client closed, the hub closed, or the peer is gone."""
    faults: list[Exception] = []

    def readable(now: float) -> None:
        try:
            data = sock.recv(READ_BYTES)
            goes_on = bool(data) and reader.feed(data, now)
        except BlockingIOError:  # readiness may be spurious (select(2), BUGS)
            return
        except OSError:
            goes_on = False
        except Exception as error:
            # Ours, and only this connection's: its task raises it, the poller never does.
            faults.append(error)
            goes_on = False
        if not goes_on:
            poller.forget(sock)
            link.ended.set()

    if rest and not reader.feed(rest, trio.current_time()):
        return
    poller.watch(sock, readable)
    try:
        await link.ended.wait()
    finally:
        poller.forget(sock)
    if faults:
        raise faults[0]


async def _part(
    sock: socket.socket, link: PlainLink, reader: FrameReader, connection: Connection
) -> tuple[int | None, str]:
    """Send what is owed and a close frame, wait a moment for the peer's, and tell how the connection ended."""
    code, reason = reader.close_code()
    if connection.close_code is not None:
        code, reason = connection.close_code, connection.close_reason
        if code != close_codes.ABNORMAL:
            reader.say_goodbye(code, reason)
    connection.session.run.fanout.remove(connection)
    link.end()  # the task that wrote its backlog, if there is one, gives the socket up
    with trio.move_on_after(GOODBYE_TIMEOUT):
        await _write(sock, connection.take_unsent() + reader.last_words)
    return code, reason


async def _write(sock: socket.socket, data: bytes) -> None:
    """Write all of it, then read to the end: closing with unread bytes would reset what was just written."""
    try:
        while data:
            try:
                data = data[sock.send(data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(sock)
        sock.shutdown(socket.SHUT_WR)
        with trio.move_on_after(GOODBYE_TIMEOUT):
            while True:
                await trio.lowlevel.wait_readable(sock)
                if not sock.recv(READ_BYTES):
                    return
    except (OSError, trio.ClosedResourceError):
        pass
