"""One client of a run on any transport: it says what a test tells it to, right or wrong, and reads strictly.

Law of this file: it promises nothing a real client would (no queue, no reconnect): tests see every message as it came.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.transports.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    client_frame,
    close_payload,
    take_frame,
)
from tests.transports.servers import Server
from tests.transports.wires import DEADLINE_S, Answer, Headers, Wire

Message = dict[str, Any]


class Transport(NamedTuple):
    """One way to a server, and what it cannot do: each difference between the transports stands here."""

    name: str
    server: Server
    open_wire: Callable[[], Wire]
    hears_control_frames: bool
    """Whether the session code sees pongs and the client's close code. ASGI shows neither: no server pings, and a
    user who leaves is gone after the grace time only."""
    names_faults: bool
    """Whether a client that breaks RFC 6455 gets a close frame that says so. Hypercorn alone just hangs up."""
    drains: bool
    """Whether a stop says DRAIN and 1012. Hypercorn alone stops its connections before it tells the application."""
    refuses_compression: bool
    """Whether permessage-deflate stays off. Hypercorn alone negotiates it before the application is asked."""


class Closed(Exception):
    """The server ended the WebSocket: its close code, None where the connection ended without a close frame."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server answered the upgrade with plain HTTP."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body!r}")
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.body

    @property
    def problem(self) -> Message:
        """The body as problem+json."""
        problem: Message = json.loads(self.body)
        return problem


def new_run() -> str:
    """A run that no other test knows."""
    return str(uuid.uuid4())


def socket_target(run: str, **query: object) -> str:
    """Path and query of an upgrade."""
    return f"/ws/runs/{run}/collaboration?{urlencode(query)}"


class Peer:
    """A client that is in a run. `welcome` is WELCOME's data."""

    def __init__(self, transport: Transport, target: str, headers: Headers | None = None) -> None:
        self.transport = transport
        self.pings: list[bytes] = []
        self.answers_pings = True
        self._buffer = bytearray()
        self.wire = transport.open_wire()
        try:
            self.answer = self.wire.upgrade(target, headers or [])
            if self.answer.status not in (101, 200):
                raise Refused(self.answer)
            first = self.receive()
            assert first["eventType"] == "WELCOME", "WELCOME is first, always"
            self.welcome: Message = first["data"]
        except BaseException:
            self.wire.close()
            raise

    # Sending

    def send(self, event_type: str, data: Any = None, message_id: str | None = None) -> None:
        """Send one message of the protocol."""
        message = {"eventType": event_type, "data": data}
        if message_id is not None:
            message["clientMessageId"] = message_id
        self.send_text(json.dumps(message))

    def send_text(self, text: str | bytes) -> None:
        """Send a text message, whatever it holds."""
        self.wire.send(client_frame(TEXT, text.encode() if isinstance(text, str) else text))

    def send_binary(self, data: bytes) -> None:
        """Send a binary message."""
        self.wire.send(client_frame(BINARY, data))

    # Receiving

    def receive_frame(self, deadline: float) -> Frame:
        """The next frame. Raises Closed at the end, TimeoutError at the deadline (steady seconds)."""
        while (frame := take_frame(self._buffer)) is None:
            data = self.wire.receive(deadline)
            if not data:
                assert not self._buffer, "the server ended in the middle of a frame"
                raise Closed(None, "")
            self._buffer += data
        return frame

    def receive(self, timeout_s: float = DEADLINE_S) -> Message:
        """The next message. Raises Closed, after the end of the connection was seen."""
        deadline = time.monotonic() + timeout_s
        while True:
            frame = self.receive_frame(deadline)
            if frame.opcode == TEXT:
                assert frame.fin
                message: Message = json.loads(frame.payload.decode())
                return message
            if frame.opcode == PING:
                self.pings.append(frame.payload)
                if self.answers_pings:
                    self.wire.send(client_frame(PONG, frame.payload))
            elif frame.opcode == CLOSE:
                self._answer_close(frame.payload, deadline)
            elif frame.opcode != PONG:
                raise AssertionError(f"a server sends text, not {frame}")

    def _answer_close(self, payload: bytes, deadline: float) -> None:
        code = int.from_bytes(payload[:2]) if payload else None
        with suppress(OSError):
            self.wire.send(client_frame(CLOSE, payload))
        while self.wire.receive(deadline):
            pass  # RFC 6455, section 5.5.1: nothing of meaning follows a close frame
        raise Closed(code, payload[2:].decode())

    def expect(self, event_type: str, timeout_s: float = DEADLINE_S) -> Message:
        """The next message, which has to be of this type."""
        message = self.receive(timeout_s)
        assert message["eventType"] == event_type, message
        return message

    def wait_for(self, event_type: str, timeout_s: float = DEADLINE_S) -> Message:
        """The next message of this type; others before it are passed over."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.receive(max(0.0, deadline - time.monotonic()))
            if message["eventType"] == event_type:
                return message

    def tell(self, event_type: str, data: Any, message_id: str) -> tuple[Message, Message]:
        """Send an event and wait for it and for its ACK's data, which may come in either order."""
        self.send(event_type, data, message_id)
        return self.wait_told(message_id)

    def wait_told(self, message_id: str) -> tuple[Message, Message]:
        """Wait for a new event of one's own and for its ACK's data; other messages are passed over."""
        event: Message | None = None
        ack: Message | None = None
        while event is None or ack is None:
            message = self.receive()
            if message["eventType"] == "ACK" and message["data"]["clientMessageId"] == message_id:
                ack = message["data"]
            elif message.get("clientMessageId") == message_id:
                event = message
        return event, ack

    def receive_all(self) -> list[Message]:
        """All that the server has to say by now: what it sends before it answers a PING sent now."""
        return list(self._until_pong())

    def _until_pong(self) -> Iterator[Message]:
        mark = str(uuid.uuid4())
        self.send("PING", {"sentAt": mark})
        while True:
            message = self.receive()
            if message["eventType"] == "PONG" and message["data"]["sentAt"] == mark:
                return
            yield message

    def receive_replay(self) -> list[Message]:
        """The events that WELCOME announced."""
        return [self.receive() for _ in range(self.welcome["replayCount"])]

    # Leaving

    def wait_closed(self, timeout_s: float = DEADLINE_S) -> Closed:
        """How the server ends this connection; messages before that are passed over."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.receive(max(0.0, deadline - time.monotonic()))
            except Closed as closed:
                self.wire.close()
                return closed

    def leave(self, code: int = 1000) -> Closed:
        """Close as a client does, and tell how the server answered."""
        self.wire.send(client_frame(CLOSE, close_payload(code)))
        return self.wait_closed()

    def vanish(self) -> None:
        """Lose the connection without a word."""
        self.wire.close()
