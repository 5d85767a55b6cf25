"""Bytes of one WebSocket to what the session code understands.

Law of this file: no I/O and no Trio; it is fed bytes and calls the hub. RFC 6455 is kept by the sans-I/O protocol of
the `websockets` package: fragmentation, control frames, limits, mistakes. Only what nearly every frame is, a message
or a pong whole in one frame that is here whole, is read right here, in a tenth of the time (docs/performance.md,
"Reading"). What is left is joining fragments and checking UTF-8 of whole messages.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final, cast

from websockets.frames import Close, Frame, Opcode
from websockets.frames import apply_mask as unmask  # type: ignore[attr-defined]  # the package's C function, if built
from websockets.protocol import Protocol, Side

from collabd.gateway.handshake import SILENT
from collabd.hub.connection import Stage
from collabd.hub.heartbeat import take_pong
from collabd.hub.receive import receive
from collabd.protocol import close_codes

if TYPE_CHECKING:
    from collabd.hub.connection import Connection

_WHOLE: Final = (0x80 | Opcode.TEXT, 0x80 | Opcode.BINARY)
_PONG: Final = 0x80 | Opcode.PONG
_KNOWN: Final = frozenset(Opcode)
_MASKED: Final = 0x80
_SHORT: Final = 4096
"""Frames of up to so many bytes are waited for here; larger ones go to `websockets` as they come."""


def frame_size(data: bytes, start: int) -> float:
    """Bytes of the frame that begins there, its head included (RFC 6455, section 5.2).

    0 where too little of the head has come to tell; infinity for a head that breaks the protocol, so that nothing that
    comes after it is taken for a frame.
    """
    there = len(data) - start
    if there < 2:
        return 0
    first, second = data[start], data[start + 1]
    opcode, length = first & 0x0F, second & 0x7F
    if first & 0x70 or opcode not in _KNOWN or not second & _MASKED or (opcode >= Opcode.CLOSE and length > 125):
        return inf
    if length < 126:
        return 6 + length
    extended = 2 if length == 126 else 8
    if there < 2 + extended:
        return 0
    return 6 + extended + int.from_bytes(data[start + 2 : start + 2 + extended])


class FrameReader:
    """Feeds one connection from the bytes of its WebSocket."""

    __slots__ = ("_begun", "_connection", "_fragments", "_left_to_protocol", "_max_bytes", "_protocol", "last_words")

    def __init__(self, max_message_bytes: int, connection: Connection) -> None:
        self.last_words = b""
        self._max_bytes = max_message_bytes
        self._connection = connection
        self._protocol: Protocol | None = None
        """Made when it is needed, which for many a connection is never."""
        self._fragments: bytearray | None = None
        self._begun = b""
        """The beginning of a short frame, until the rest has come."""
        self._left_to_protocol: float = 0
        """How many of the next bytes belong to a frame that `websockets` is reading."""

    @property
    def protocol(self) -> Protocol:
        """What `websockets` makes of this connection."""
        if self._protocol is None:
            self._protocol = Protocol(Side.SERVER, max_size=self._max_bytes, logger=SILENT)
        return self._protocol

    def feed(self, data: bytes, now: float) -> bool:
        """Take bytes of the client. False when the WebSocket has ended: `last_words` are then still to be written.

        `now` is the steady time in seconds.
        """
        self._connection.last_heard = now
        if self._begun:
            data, self._begun = self._begun + data, b""
        position, end = 0, len(data)
        while position < end:
            if not self._left_to_protocol:
                # The hot path: a frame of up to 64 KiB that is here whole (RFC 6455, section 5.2).
                length, start = data[position + 1] ^ _MASKED if end - position > 1 else 127, position + 6
                is_common = length < 126
                if length == 126:
                    length, start = int.from_bytes(data[position + 2 : position + 4]), position + 8
                    is_common = length > 125
                after = start + length
                is_here = is_common and after <= end and length <= self._max_bytes
                if is_here and data[position] in _WHOLE and self._fragments is None:
                    position = after
                    if not self._message(unmask(data[start:after], data[start - 4 : start])):
                        return self._after_protocol()
                    continue
            taken = self._take_other(data, position)
            if taken < 0:
                return False
            if not taken:
                self._begun = data[position:]
                break
            position += taken
        return True

    def _take_other(self, data: bytes, position: int) -> int:
        """Read a frame that is no common one, or a part of it; answers how many bytes that was.

        0 where the rest of a short frame has to come first, -1 where the WebSocket has ended.
        """
        if not self._left_to_protocol:
            size = frame_size(data, position)
            if size == 0 or (position + size > len(data) and size <= _SHORT):
                return 0
            if data[position] == _PONG and size != inf:
                after = position + int(size)
                payload = unmask(data[position + 6 : after], data[position + 2 : position + 6])
                take_pong(self._connection, payload, self._connection.last_heard)
                return int(size)
            self._left_to_protocol = size
        taken = int(min(self._left_to_protocol, len(data) - position))
        self._left_to_protocol -= taken
        return taken if self._feed_protocol(data[position : position + taken]) else -1

    def _feed_protocol(self, data: bytes) -> bool:
        protocol = self.protocol
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
        return self._after_protocol()

    def _after_protocol(self) -> bool:
        """False when the WebSocket has ended."""
        protocol = self._protocol
        return self._take_writes(protocol) if protocol is not None and protocol.writes else True

    def _message(self, text: bytes) -> bool:
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                self.protocol.fail(close_codes.INVALID_UTF8, "a message must be valid UTF-8")
                return False
        receive(self._connection, text)
        return self._connection.stage is not Stage.CLOSED

    def _take_writes(self, protocol: Protocol) -> bool:
        """Queue what RFC 6455 has us answer: pongs now, a close frame as the last words."""
        writes = protocol.data_to_send()
        if not protocol.eof_sent:
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
        protocol = self._protocol
        close: Close | None = None if protocol is None else protocol.close_rcvd or protocol.close_sent
        return (None, "connection lost") if close is None else (int(close.code), close.reason)
