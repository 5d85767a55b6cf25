"""Clients as thin as the protocol allows, so that nothing of a client's own hides what the server does.

Law of this file: it moves messages and judges nothing; what came is shown to an oracle's view.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError

from tests.torture.oracle import View

TRANSIENT: Final = {"USER_JOIN", "USER_LEAVE", "CURSOR_MOVE", "PONG", "DRAIN"}
GONE: Final = (ConnectionClosed, OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What a connection that has ended raises, whoever ended it."""


class Wire:
    """A WebSocket in a run; `view` is shown what comes."""

    def __init__(self, connection: WebSocketConnection, stream: trio.SocketStream, view: View) -> None:
        self._connection = connection
        self._stream = stream
        self.view = view
        self.acks: dict[str, dict[str, Any]] = {}
        """Answers, ACK or ERROR, by the id of the message."""

    async def receive(self) -> dict[str, Any]:
        """The next message, shown to the view. Raises one of GONE."""
        message: dict[str, Any] = json.loads(await self._connection.get_message())
        kind = message["eventType"]
        if kind == "WELCOME":
            self.view.welcome(message["data"])
        elif kind in ("ACK", "ERROR"):
            self.acks[message["data"].get("clientMessageId", "")] = message
        elif kind not in TRANSIENT:
            self.view.event(message)
        return message

    async def send(self, event_type: str, data: Any, message_id: str | None = None) -> None:
        """Send one message. Raises one of GONE."""
        message = {"eventType": event_type, "data": data}
        if message_id is not None:
            message["clientMessageId"] = message_id
        await self._connection.send_message(json.dumps(message))

    async def leave(self) -> None:
        """Close with 1000."""
        with trio.move_on_after(10):
            await self._connection.aclose()

    def cut(self) -> None:
        """Be gone, with a reset."""
        if self._stream.socket.fileno() >= 0:
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._stream.socket.close()


@asynccontextmanager
async def joined(port: int, run_id: str, user: str, view: View, *, slower: bool = False) -> AsyncIterator[Wire]:
    """A WebSocket for the length of a block, from the view's place on; cut at the end if nobody has left before.

    `slower`: on a connection that has carried a request already, which the gateway leaves to Hypercorn. Raises one of
    GONE, or HandshakeFailed (trio_websocket.ConnectionRejected).
    """
    query: dict[str, Any] = {"userId": user}
    if view.session_id is not None:
        query["sessionId"] = view.session_id
    if view.place is not None:
        query |= {"afterSequence": view.place.number, "epoch": view.place.epoch}
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        if slower:
            await _ask_something(stream)
        async with trio.open_nursery() as nursery:
            resource = f"/ws/runs/{run_id}/collaboration?{urlencode(query)}"
            connection = await wrap_client_stream(nursery, stream, "127.0.0.1", resource)
            wire = Wire(connection, stream, view)
            try:
                yield wire
            finally:
                wire.cut()
                nursery.cancel_scope.cancel()
    except* LocalProtocolError:
        pass  # trio-websocket 0.12 tries to answer a ping that comes while it closes, which wsproto forbids
    finally:
        view.lost()
        await trio.aclose_forcefully(stream)


async def _ask_something(stream: trio.SocketStream) -> None:
    await stream.send_all(b"GET /actuator/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = b""
    while not answer.endswith(b'{"status":"UP"}'):
        data = await stream.receive_some()
        if not data:
            raise trio.BrokenResourceError("closed instead of an answer")
        answer += data


async def poll(http: httpx.AsyncClient, run_id: str, user: str, view: View, *, wait_ms: int = 0) -> dict[str, Any]:
    """One poll from the view's place on, shown to the view. Raises httpx.HTTPError."""
    query: dict[str, Any] = {"userId": user, "wait": wait_ms, "afterSequence": 0}
    if view.session_id is not None:
        query["sessionId"] = view.session_id
    if view.place is not None:
        query |= {"afterSequence": view.place.number, "epoch": view.place.epoch}
    answer = await http.get(f"/api/runs/{run_id}/collaboration/poll", params=query)
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    view.poll(document)
    return document
