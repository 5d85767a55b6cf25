"""The WebSocket route behind Hypercorn, for upgrades that the gateway does not see.

Law of this file: the slower transport under the same session code (architecture, decision 2): upgrades on kept-alive
connections, over HTTP/2, and when Hypercorn alone serves the app. ASGI shows neither pongs nor the client's close
code, so here latency comes from CLIENT_HEALTH and a client's 1000 is a leave only after the grace time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from quart import Blueprint, Response, websocket

from collabd.errors import ProtocolError
from collabd.hub.admission import selected_subprotocol
from collabd.hub.buffered_link import BufferedLink
from collabd.hub.connection import Stage
from collabd.hub.joining import admit, counted_address, join
from collabd.hub.receive import receive
from collabd.protocol import close_codes
from collabd.protocol.codec import split_frames
from collabd.routes.answers import problem_response
from collabd.routes.callers import caller_of_socket

if TYPE_CHECKING:
    from collabd.hub.connection import Connection
    from collabd.hub.hub import Hub

_TEXT: Final = 1
_GOODBYE_TIMEOUT: Final = 2.0


def socket_routes(hub: Hub) -> Blueprint:
    """The WebSocket route."""
    routes = Blueprint("socket", __name__)

    # Any path below /ws, so that `admit` answers for wrong ones as it does behind the gateway.
    @routes.websocket("/ws/runs/<path:run_id>/collaboration")
    @routes.websocket("/ws/<path:path>")
    async def socket_route(**_: str) -> Response | None:
        caller = caller_of_socket(hub, websocket)
        with counted_address(hub, caller.address):
            try:
                admitted = await admit(hub, caller, websocket.path, websocket.query_string)
            except ProtocolError as error:
                return problem_response(error)
            await websocket.accept(subprotocol=selected_subprotocol(caller.headers))
            link = BufferedLink(caller.address, _write, hears_pongs=False)
            try:
                connection = join(hub, admitted, link, b"")
            except ProtocolError as error:
                is_token = error.code == "unauthorized"
                await websocket.close(close_codes.TOKEN_BAD if is_token else close_codes.RESTART, error.message)
                return None
            await _serve(connection, link)
        return None

    return routes


async def _serve(connection: Connection, link: BufferedLink) -> None:
    code: int | None = None
    reason = "connection lost"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run_writer)
        try:
            with link.reading:
                await _read(connection)
            code, reason = await _part(connection, link)
        finally:
            # Not after the nursery: an ASGI server may hold its writer as long as the peer does not read.
            connection.session.run.detach(connection, code, reason)
        nursery.cancel_scope.cancel()


async def _write(data: bytes) -> None:
    """Send joined frames as ASGI messages; pings have no ASGI form and are left out."""
    for opcode, payload in split_frames(data):
        if opcode == _TEXT:
            await websocket.send(payload.decode())


async def _read(connection: Connection) -> None:
    hub = connection.session.run.hub
    committer, max_bytes = hub.committer, hub.config.websocket.max_message_bytes
    while connection.stage is not Stage.CLOSED:
        message: str | bytes | None = await websocket.receive()
        connection.last_heard = trio.current_time()
        text = message.encode() if isinstance(message, str) else message or b""  # an empty binary one comes as None
        try:
            text.decode()
        except UnicodeDecodeError:
            connection.close(close_codes.INVALID_UTF8, "a message must be valid UTF-8")
            return
        if len(text) > max_bytes:  # an ASGI server may count characters, or have a limit of its own
            connection.close(close_codes.TOO_BIG, "message too big")
            return
        receive(connection, text)
        if committer.congested:
            await committer.wait_room()


async def _part(connection: Connection, link: BufferedLink) -> tuple[int | None, str]:
    connection.session.run.fanout.remove(connection)
    link.end()  # the task that wrote its backlog, if there is one, goes
    code, reason = connection.close_code, connection.close_reason
    with trio.move_on_after(_GOODBYE_TIMEOUT):
        await link.wait_written()
        await _write(connection.take_unsent())
        if code is not None and code != close_codes.ABNORMAL:
            await websocket.close(code, reason)
    return code, reason
