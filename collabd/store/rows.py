"""What one event looks like as a row, and how a row proves that it was not altered.

Law of this file: pure; no connection, no clock. Text goes in and comes out byte for byte.
"""

from __future__ import annotations

import zlib
from hashlib import blake2b
from typing import Any, Final

import msgspec

from collabd.errors import DamagedEvent
from collabd.store.interface import NewEvent, StoredEvent

MESSAGE_COLUMNS: Final = (
    "position", "id", "run_id", "user_id", "event_type", "timestamp", "sequence_number", "is_critical",
    "client_message_id", "state_key", "checksum", "data_bytes", "message_data",
)  # fmt: skip
KEY_COLUMNS: Final = ("message_key", "run_id", "sequence_number", "content_hash", "made_at")

EVENT_AS_JSON: Final = (
    "json_array(sequence_number, user_id, event_type, timestamp, is_critical, client_message_id, state_key, checksum,"
    " message_data)"
)
"""SQL that makes of a row of either event table what decode_events reads."""


class _Row(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    sequence_number: int
    user_id: str
    event_type: str
    timestamp: int
    is_critical: int
    client_message_id: str | None
    state_key: str | None
    checksum: int
    message_data: str


_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_encode = msgspec.json.Encoder().encode


def decode_events(run_id: str, rows: bytes) -> list[StoredEvent]:
    """Read a JSON array of EVENT_AS_JSON, each event checked against its checksum.

    Raises DamagedEvent, and msgspec.DecodeError or UnicodeDecodeError where a row cannot even be read.
    """
    return [_stored(run_id, row) for row in _decode_rows(rows)]


def _stored(run_id: str, row: _Row) -> StoredEvent:
    data = row.message_data.encode()
    expected = checksum(
        run_id, row.sequence_number, row.user_id, row.event_type, row.timestamp, row.is_critical,
        row.client_message_id, row.state_key, data,
    )  # fmt: skip
    if row.checksum != expected:
        raise DamagedEvent(run_id, row.sequence_number)
    return StoredEvent(
        row.sequence_number, row.user_id, row.event_type, data, row.timestamp, row.is_critical == 1,
        row.client_message_id,
    )  # fmt: skip


def checksum(
    run_id: str,
    sequence_number: int,
    user_id: str,
    event_type: str,
    timestamp: int,
    is_critical: int,
    client_message_id: str | None,
    state_key: str | None,
    data: bytes,
) -> int:
    """CRC-32 of everything that makes an event, against flipped bits and strange hands; it is no signature."""
    fields = (run_id, sequence_number, user_id, event_type, timestamp, is_critical, client_message_id, state_key)
    # JSON marks where each field ends, so that nothing can move from one field to the next unseen.
    return zlib.crc32(data, zlib.crc32(_encode(fields)))


def message_key(event: NewEvent) -> bytes | None:
    """What names a message once and for all (docs/protocol.md, "Once"); None for one that was given no id."""
    if event.client_message_id is None:
        return None
    return blake2b(_encode((event.run_id, event.user_id, event.client_message_id)), digest_size=16).digest()


def content_hash(event: NewEvent) -> int:
    """What tells a message that comes again from another under its id: 64 bits, signed as SQLite stores them."""
    digest = blake2b(event.event_type.encode() + b"\0" + event.data, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def message_row(event: NewEvent, *, position: int, sequence_number: int, row_id: str) -> tuple[Any, ...]:
    """The values of MESSAGE_COLUMNS for one event."""
    critical = int(event.is_critical)
    check = checksum(
        event.run_id, sequence_number, event.user_id, event.event_type, event.timestamp, critical,
        event.client_message_id, event.state_key, event.data,
    )  # fmt: skip
    return (
        position, row_id, event.run_id, event.user_id, event.event_type, event.timestamp, sequence_number, critical,
        event.client_message_id, event.state_key, check, len(event.data), event.data.decode(),
    )  # fmt: skip


def time_ordered_id(now_ms: int, counter: int, random: bytes) -> str:
    """A UUID of version 7 (RFC 9562): milliseconds, the low 12 bits of `counter`, 8 bytes of randomness."""
    tail = (int.from_bytes(random, "big") & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
    time = f"{now_ms >> 16:08x}-{now_ms & 0xFFFF:04x}"
    return f"{time}-7{counter & 0xFFF:03x}-{tail >> 48:04x}-{tail & 0xFFFF_FFFF_FFFF:012x}"
