"""Bytes of one WebSocket, read by the websockets package's sans-I/O protocol, to what the session code understands.

Law of this file: no I/O and no Trio; it is fed bytes and calls the hub. RFC 6455 is kept by `websockets`: masking,
fragmentation, control frames, limits. What is left here is joining fragments and checking UTF-8 of whole messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from websockets.frames import Close, Frame, Opcode

from collabd.hub.connection import Stage
from collabd.hub.heartbeat import take_pong
from collabd.hub.receive import receive
from collabd.protocol import close_codes

if TYPE_CHECKING:
    from websockets.protocol import Protocol

    from collabd.hub.connection import Connection


class FrameReader:
    """Feeds one connection from its WebSocket protocol state."""

    __slots__ = ("_connection", "_fragments", "last_words", "protocol")

    def __init__(self, protocol: Protocol, connection: Connection) -> None:
        self.protocol = protocol
        self.last_words = b""
        self._connection = connection
        self._fragments: bytearray | None = None

    def feed(self, data: bytes, now: float) -> bool:
        """Take bytes of the client. False when the WebSocket has ended: `last_words` are then still to be written.

        `now` is the steady time in seconds.
        """
        protocol = self.protocol
        self._connection.last_heard = now
        protocol.receive_data(data)
        for event in protocol.events_received():
            frame = cast(Frame, event)
            opcode = frame.opcode
            if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
                if not frame.fin:
                    self._fragments = bytearray(frame.data)
                elif not self._message(bytes(frame.data)):
                    break
            elif opcode is Opcode.CONT:
                assert self._fragments is not None, "websockets checks the order of fragments"
                self._fragments += frame.data
                if frame.fin:
                    whole, self._fragments = bytes(self._fragments), None
                    if not self._message(whole):
                        break
            elif opcode is Opcode.PONG:
                take_pong(self._connection, bytes(frame.data), now)
        if protocol.writes:
            return self._take_writes()
        return True

    def _message(self, text: bytes) -> bool:
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                self.protocol.fail(close_codes.INVALID_UTF8, "a message must be valid UTF-8")
                return False
        receive(self._connection, text)
        return self._connection.stage is not Stage.CLOSED

    def _take_writes(self) -> bool:
        """Queue what RFC 6455 has us answer: pongs now, a close frame as the last words."""
        writes = self.protocol.data_to_send()
        if not self.protocol.eof_sent:
            for frame in writes:
                self._connection.tell(frame)
            return True
        self.last_words = b"".join(writes)
        return False

    def say_goodbye(self, code: int, reason: str) -> None:
        """Make a close frame the last words, where the WebSocket is still open."""
        if self.protocol.close_sent is None:
            self.protocol.send_close(code, reason[:120])
            self.last_words = b"".join(self.protocol.data_to_send())

    def close_code(self) -> tuple[int | None, str]:
        """The code and reason with which the client closed, or with which its mistake was answered."""
        close: Close | None = self.protocol.close_rcvd or self.protocol.close_sent
        return (None, "connection lost") if close is None else (int(close.code), close.reason)
