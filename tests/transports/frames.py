"""WebSocket frames by hand: any bytes a client could send, and a strict reading of what a server sends.

Law of this file: pure bytes, written from RFC 6455, section 5.2, and using no library that the server uses: it is
the yardstick.
"""

from __future__ import annotations

from typing import NamedTuple

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

_MASK = b"\x11\x22\x33\x44"


class Frame(NamedTuple):
    """One frame from the server."""

    fin: bool
    opcode: int
    payload: bytes


def client_frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    claimed_size: int | None = None,
    long_form: int | None = None,
) -> bytes:
    """One frame as a client sends it, right or wrong.

    `reserved` is the three RSV bits (4, 2, 1); `claimed_size` a length other than the payload's; `long_form` the
    length field's size in bytes (2 or 8) where a shorter one would do.
    """
    size = len(payload) if claimed_size is None else claimed_size
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    mask_bit = 0x80 if masked else 0
    field = long_form or (0 if size < 126 else 2 if size < 65536 else 8)
    short = {0: size, 2: 126, 8: 127}[field]
    head = bytes([first, mask_bit | short]) + (size.to_bytes(field) if field else b"")
    if not masked:
        return head + payload
    return head + _MASK + mask(payload)


def mask(payload: bytes) -> bytes:
    """The payload under this file's masking key."""
    key = int.from_bytes((_MASK * (len(payload) // 4 + 1))[: len(payload)])
    return (int.from_bytes(payload) ^ key).to_bytes(len(payload))


def take_frame(buffer: bytearray) -> Frame | None:
    """Take one whole frame off the buffer's start, or None while there is none.

    Fails the test when the frame breaks a rule for servers: reserved bits, masks, long or fragmented control frames,
    a length that is not in its shortest form, an opcode that is not defined.
    """
    if len(buffer) < 2:
        return None
    first, second = buffer[0], buffer[1]
    field = {126: 2, 127: 8}.get(second & 0x7F, 0)
    if len(buffer) < 2 + field:
        return None
    size = int.from_bytes(buffer[2 : 2 + field]) if field else second & 0x7F
    if len(buffer) < 2 + field + size:
        return None
    fin, opcode = bool(first & 0x80), first & 0x0F
    assert not first & 0x70, "a server that negotiated no extension sets no reserved bit"
    assert not second & 0x80, "a server does not mask"
    assert field == (0 if size < 126 else 2 if size < 65536 else 8), "lengths are in their shortest form"
    assert opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)
    assert opcode < CLOSE or (fin and size < 126), "control frames are short and whole"
    payload = bytes(buffer[2 + field : 2 + field + size])
    del buffer[: 2 + field + size]
    return Frame(fin, opcode, payload)


def close_payload(code: int, reason: bytes = b"") -> bytes:
    """The payload of a close frame."""
    return code.to_bytes(2) + reason


def fragments(opcode: int, *parts: bytes) -> bytes:
    """One message in as many fragments as there are parts."""
    last = len(parts) - 1
    return b"".join(
        client_frame(opcode if index == 0 else CONTINUATION, part, fin=index == last)
        for index, part in enumerate(parts)
    )
