"""A server that does what a test tells it, over streams in memory: the client's tasks under a virtual clock.

Law of this file: it keeps one run's log as docs/protocol.md says, no more carefully than the tests need, and each
deviation is a named switch. The real server's behaviour is shown in tests/scenarios.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from collabd.client.address import Address

CONTROL = ("PING", "CLIENT_HEALTH", "AUTH")


class _Replayed(trio.abc.Stream):
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: trio.abc.Stream) -> None:
        self._head = head
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        head, self._head = self._head, b""
        return head or await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Switched(trio.abc.Stream):
    """A client's stream whose writes stand still while the server reads nothing: its buffers are full."""

    def __init__(self, stream: trio.abc.Stream, server: FakeServer) -> None:
        self._stream = stream
        self._server = server

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._server.reads_nothing:
            await trio.sleep_forever()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class Peer:
    """One WebSocket on the server's side."""

    def __init__(self, socket: WebSocketConnection, query: dict[str, str]) -> None:
        self.socket = socket
        self.query = query
        self.received: list[dict[str, Any]] = []
        self.at: list[float] = []

    async def tell(self, event_type: str, data: Any) -> None:
        """Send a control message."""
        await self.socket.send_message(json.dumps({"eventType": event_type, "data": data}))

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a code."""
        with trio.move_on_after(1):
            await self.socket.aclose(code, reason)

    def types(self, *wanted: str) -> list[dict[str, Any]]:
        """What came of these types."""
        return [message for message in self.received if message["eventType"] in wanted]


class FakeServer:
    """One run. `dial` takes the place of TCP."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.log: list[dict[str, Any]] = []
        self.oldest = 1
        self.epoch = "e1"
        self.run_state: list[dict[str, Any]] = []
        self.peers: list[Peer] = []
        self.requests: list[tuple[float, str, str]] = []
        self.dials: list[float] = []
        self.users = ["ann"]
        self.cursors: dict[str, Any] = {}
        self.heartbeat_ms = 10_000
        self.max_message_bytes = 65_536
        self.lifetime_ms = 60_000
        # Deviations
        self.is_down = False
        self.is_stalled = False
        self.reads_nothing = False
        self.poll_says: dict[str, Any] = {}
        self.welcome_says: dict[str, Any] = {}
        self.websocket_dies_after: float | None = None
        self.refuse_socket: tuple[int, dict[str, Any], dict[str, str]] | None = None
        self.refuse_http: dict[str, tuple[int, dict[str, Any] | str, dict[str, str]]] = {}
        self.http_delay = 0.0
        self.is_silent = False
        self.answer_message: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None
        self.swallow_acks = False
        self.good_token: str | None = None
        self.first_message: str | None = None

    # What tests do

    def commit(self, event_type: str, data: Any, user: str = "bob", message_id: str | None = None) -> dict[str, Any]:
        """Put an event into the log without telling anyone."""
        event = {
            "eventType": event_type,
            "userId": user,
            "timestamp": 0,
            "sequenceNumber": self.head + 1,
            "data": data,
            "isCritical": True,
        }
        if message_id is not None:
            event["clientMessageId"] = message_id
        self.log.append(event)
        return event

    async def publish(self, event_type: str = "FLAG", data: Any = None) -> None:
        """Commit an event and tell everyone."""
        await self.tell_all(self.commit(event_type, data))

    async def tell_all(self, event: dict[str, Any]) -> None:
        """Send an event to every WebSocket."""
        for peer in list(self.peers):
            try:
                await peer.socket.send_message(json.dumps(event))
            except ConnectionClosed:
                continue

    @property
    def head(self) -> int:
        """The last number."""
        return self.log[-1]["sequenceNumber"] if self.log else 0

    @property
    def peer(self) -> Peer:
        """The newest WebSocket."""
        return self.peers[-1]

    async def wait_for_peer(self, count: int) -> Peer:
        """The `count`-th WebSocket that got its WELCOME."""
        with trio.fail_after(600):
            while len(self.peers) < count:  # noqa: ASYNC110, virtual time costs nothing
                await trio.sleep(0.01)
        return self.peers[count - 1]

    def ids(self) -> list[str | None]:
        """The ids in the log, in its order."""
        return [event.get("clientMessageId") for event in self.log]

    def asked(self, method: str, word: str) -> list[tuple[float, str]]:
        """When which target with this word was asked for."""
        return [(at, target) for at, kind, target in self.requests if kind == method and word in target]

    # Connections

    async def dial(self, address: Address) -> trio.abc.Stream:
        """What the client calls instead of TCP."""
        del address
        self.dials.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if self.is_down:
            raise ConnectionRefusedError(111, "Connection refused")
        client, server = memory_stream_pair()
        self._nursery.start_soon(self._serve, server)
        return _Switched(client, self)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self.is_stalled:
            await trio.sleep_forever()
        try:
            async with stream:
                await self._serve_head(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return

    async def _serve_head(self, stream: trio.abc.Stream) -> None:
        connection = h11.Connection(h11.SERVER)
        head = bytearray()
        while (event := connection.next_event()) is h11.NEED_DATA:
            data = await stream.receive_some()
            head += data
            connection.receive_data(bytes(data))
        if not isinstance(event, h11.Request):
            return
        headers = {name.decode().lower(): value.decode() for name, value in event.headers}
        target = event.target.decode()
        if "upgrade" in headers:
            self.requests.append((trio.current_time(), "WS", target))
            await self._serve_upgrade(_Replayed(bytes(head), stream), connection, target, headers)
            return
        body = b""
        while not isinstance(part := connection.next_event(), h11.EndOfMessage):
            if part is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some()))
            elif isinstance(part, h11.Data):
                body += part.data
        self.requests.append((trio.current_time(), event.method.decode(), target))
        await trio.sleep(self.http_delay)
        status, answer, more = self._answer(target, headers, body)
        await self._send_answer(stream, connection, status, answer, more)

    @staticmethod
    async def _send_answer(
        stream: trio.abc.Stream,
        connection: h11.Connection,
        status: int,
        answer: dict[str, Any] | str,
        more: dict[str, str],
    ) -> None:
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        head = h11.Response(status_code=status, headers=[("Content-Length", str(len(body))), *more.items()])
        parts = [connection.send(part) or b"" for part in (head, h11.Data(data=body), h11.EndOfMessage())]
        await stream.send_all(b"".join(parts))

    def _unauthorized(self, headers: dict[str, str]) -> bool:
        return self.good_token is not None and headers.get("authorization") != f"Bearer {self.good_token}"

    # WebSocket

    async def _serve_upgrade(
        self, stream: trio.abc.Stream, connection: h11.Connection, target: str, headers: dict[str, str]
    ) -> None:
        refusal = self.refuse_socket
        if self._unauthorized(headers):
            refusal = (401, {"code": "unauthorized", "message": "expired"}, {})
        if refusal is not None:
            await self._send_answer(stream, connection, *refusal)
            return
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            socket = await request.accept(subprotocol="collabd.v1")
            peer = Peer(socket, query)
            if self.websocket_dies_after is not None:
                nursery.start_soon(self._die, stream, self.websocket_dies_after)
            try:
                await self._welcome(peer)
                while True:
                    await self._take(peer, json.loads(await socket.get_message()))
            except ConnectionClosed:
                pass
            if peer in self.peers and not self.is_silent:
                peer.query["ended"] = "yes"
            nursery.cancel_scope.cancel()

    @staticmethod
    async def _die(stream: trio.abc.Stream, after: float) -> None:
        await trio.sleep(after)
        await trio.aclose_forcefully(stream)

    async def _welcome(self, peer: Peer) -> None:
        if self.first_message is not None:
            await peer.socket.send_message(self.first_message)
            return
        resume, replay = self._history(peer.query)
        data = resume | {
            "sessionId": peer.query.get("sessionId", f"s{len(self.peers) + 1}"),
            "replayCount": len(replay),
            "activeUsers": self.users,
            "cursorPositions": self.cursors,
            "serverTime": 0,
            "heartbeatIntervalMs": self.heartbeat_ms,
            "maxMessageBytes": self.max_message_bytes,
        }
        await peer.tell("WELCOME", data | self.welcome_says)
        self.peers.append(peer)
        for event in replay:
            await peer.socket.send_message(json.dumps(event))

    def _history(self, query: dict[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The head of a WELCOME or poll, and the events that follow."""
        kept = [event for event in self.log if event["sequenceNumber"] >= self.oldest]
        after, epoch = int(query.get("afterSequence", 0)), query.get("epoch")
        asked = "afterSequence" in query
        reason = None
        if asked and epoch != self.epoch:
            reason = "epoch_changed"
        elif asked and after > self.head:
            reason = "ahead_of_log"
        elif asked and after < self.oldest - 1:
            reason = "trimmed"
        recovered = asked and reason is None
        head: dict[str, Any] = {
            "epoch": self.epoch,
            "sequenceNumber": self.head,
            "oldestSequence": self.oldest,
            "recovered": recovered,
            "resetReason": reason,
            "runState": [] if recovered else self.run_state,
        }
        return head, [event for event in kept if not recovered or event["sequenceNumber"] > after]

    async def _take(self, peer: Peer, message: dict[str, Any]) -> None:
        peer.received.append(message)
        peer.at.append(trio.current_time())
        if self.is_silent:
            return
        if message["eventType"] == "PING":
            await peer.tell("PONG", {"sentAt": message["data"]["sentAt"], "serverTime": 0})
        elif message["eventType"] == "AUTH":
            await peer.tell("AUTH_OK", {"expiresAt": None})
        elif message["eventType"] not in CONTROL:
            answer, event = self._commit_message(message)
            if event is not None:
                await self.tell_all(event)
            if answer is not None and not self.swallow_acks:
                await peer.tell("ERROR" if "code" in answer else "ACK", answer)

    def _commit_message(self, message: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        message_id = message.get("clientMessageId")
        if self.answer_message is not None and (answer := self.answer_message(message)) is not None:
            return answer, None
        if message["eventType"] == "CURSOR_MOVE":
            return None, {"eventType": "CURSOR_MOVE", "userId": "ann", "data": message["data"], "isCritical": False}
        known = next((event for event in self.log if event.get("clientMessageId") == message_id), None)
        event = known or self.commit(message["eventType"], message["data"], "ann", message_id)
        answer = {
            "clientMessageId": message_id,
            "sequenceNumber": event["sequenceNumber"],
            "duplicate": known is not None,
        }
        return answer, None if known else event

    # HTTP

    def _answer(
        self, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, Any] | str, dict[str, str]]:
        parts = urlsplit(target)
        route = parts.path.rpartition("/")[2]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if route in self.refuse_http:
            return self.refuse_http[route]
        if route == "client-config":
            return 200, {"maxReconnectAttempts": 5, "pollingIntervalMs": 2000, "messageRetryLimit": 3}, {}
        if self._unauthorized(headers):
            return 401, {"code": "unauthorized", "message": "expired"}, {}
        if route == "poll":
            return 200, self._poll(query), {}
        if route == "replay":
            return 200, self._replay(query), {}
        return 200, self._publish(json.loads(body)), {}

    def _poll(self, query: dict[str, str]) -> dict[str, Any]:
        head, events = self._history(query)
        limit = int(query.get("limit", 1000))
        answer = head | {
            "sessionId": query.get("sessionId", "polled"),
            "events": events[:limit],
            "hasMore": len(events) > limit,
            "activeUsers": self.users,
            "cursorPositions": self.cursors,
            "nextPollMs": 2000,
        }
        return answer | self.poll_says

    def _replay(self, query: dict[str, str]) -> dict[str, Any]:
        start, limit = int(query["fromSequence"]), int(query["limit"])
        events = [event for event in self.log if event["sequenceNumber"] >= max(start, self.oldest)]
        following = events[limit]["sequenceNumber"] if len(events) > limit else None
        return {
            "epoch": self.epoch,
            "sequenceNumber": self.head,
            "oldestSequence": self.oldest,
            "events": events[:limit],
            "nextSequence": following,
        }

    def _publish(self, body: dict[str, Any]) -> dict[str, Any]:
        acks: list[dict[str, Any]] = []
        blocked = False
        for message in body.get("events", [body]):
            self.posted = message
            if blocked:
                acks.append({"code": "not_attempted", "message": "", "retryable": True})
            elif message["eventType"] in CONTROL or "clientMessageId" not in message:
                acks.append({})
            else:
                answer, _ = self._commit_message(message)
                assert answer is not None
                blocked = bool(answer.get("retryable"))
                acks.append(answer)
        return {"acks": acks}


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """A fake server for the length of a block."""
    async with trio.open_nursery() as nursery:
        yield FakeServer(nursery)
        nursery.cancel_scope.cancel()
