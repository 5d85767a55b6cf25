"""Server messages as bytes: JSON payloads and the WebSocket frames around them.

Law of this file: an event is encoded once, here, and the same bytes object goes to everyone (RFC 6455, section 5.2:
a server's frames are unmasked, so nothing in them depends on the receiver). Fields stand in docs/protocol.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from collabd.errors import ProtocolError

_encode_json: Final = msgspec.json.Encoder().encode
_TEXT: Final = 0x81
_PING: Final = 0x89
_EXTENDED_16: Final = struct.Struct("!BBH").pack
_EXTENDED_64: Final = struct.Struct("!BBQ").pack


def text_frame(payload: bytes) -> bytes:
    """One unfragmented text frame around a JSON payload (UTF-8)."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65536:
        return _EXTENDED_16(_TEXT, 126, size) + payload
    return _EXTENDED_64(_TEXT, 127, size) + payload


def ping_frame(payload: bytes) -> bytes:
    """A ping with at most 125 bytes of payload."""
    return bytes((_PING, len(payload))) + payload


def frame_payload(frame: bytes) -> bytes:
    """The payload of one unmasked frame made here."""
    length = frame[1]
    return frame[2:] if length < 126 else frame[4:] if length == 126 else frame[10:]


def split_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Joined unmasked whole frames as (opcode, payload) pairs, for a transport that frames by itself."""
    frames: list[tuple[int, bytes]] = []
    position = 0
    while position < len(data):
        opcode = data[position] & 0x0F
        size = data[position + 1]
        position += 2
        if size == 126:
            size = int.from_bytes(data[position : position + 2])
            position += 2
        elif size == 127:
            size = int.from_bytes(data[position : position + 8])
            position += 8
        frames.append((opcode, data[position : position + size]))
        position += size
    return frames


def json_string(text: str) -> bytes:
    """A JSON string literal, quotes included."""
    return _encode_json(text)


def event_payload(
    event_type: str,
    user_json: bytes,
    timestamp: int,
    data: bytes,
    *,
    critical: bool = False,
    sequence_number: int | None = None,
    client_message_id: str | None = None,
) -> bytes:
    """The event envelope. `user_json` is json_string(userId); `timestamp` in milliseconds; `data` is JSON text."""
    number = b"" if sequence_number is None else b',"sequenceNumber":%d' % sequence_number
    message_id = b"" if client_message_id is None else b',"clientMessageId":"%s"' % client_message_id.encode()
    return b'{"eventType":"%s","userId":%s,"timestamp":%d%s,"data":%s,"isCritical":%s%s}' % (
        event_type.encode(),
        user_json,
        timestamp,
        number,
        data,
        b"true" if critical else b"false",
        message_id,
    )


def control_payload(event_type: str, data: dict[str, Any]) -> bytes:
    """A message from the server to one client that is no event: WELCOME, ACK, ERROR, PONG, AUTH_OK, DRAIN."""
    return b'{"eventType":"%s","data":%s}' % (event_type.encode(), _encode_json(data))


def ack_data(client_message_id: str, sequence_number: int | None, duplicate: bool) -> bytes:
    """ACK's data as JSON text; the id needs no escaping (its pattern has no quote and no backslash)."""
    number = b"" if sequence_number is None else b'"sequenceNumber":%d,' % sequence_number
    return b'{"clientMessageId":"%s",%s"duplicate":%s}' % (
        client_message_id.encode(),
        number,
        b"true" if duplicate else b"false",
    )


def ack_frame(client_message_id: str, sequence_number: int | None, duplicate: bool) -> bytes:
    """An ACK as a whole frame."""
    return text_frame(b'{"eventType":"ACK","data":%s}' % ack_data(client_message_id, sequence_number, duplicate))


def error_data(error: ProtocolError) -> dict[str, Any]:
    """ERROR's data; also the body of a problem+json answer (RFC 9457 extension members)."""
    data: dict[str, Any] = {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.client_message_id is not None:
        data["clientMessageId"] = error.client_message_id
    if error.retry_after_ms is not None:
        data["retryAfterMs"] = error.retry_after_ms
    return data


def error_frame(error: ProtocolError) -> bytes:
    """An ERROR as a whole frame."""
    return text_frame(control_payload("ERROR", error_data(error)))


def json_array(items: Iterable[bytes]) -> bytes:
    """A JSON array of ready JSON texts."""
    return b"[" + b",".join(items) + b"]"
