"""Log rows as the envelopes that clients know. Law of this file: store types in, protocol bytes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collabd.protocol.codec import event_payload, json_string, text_frame

if TYPE_CHECKING:
    from collabd.store.interface import StoredEvent


def stored_payload(event: StoredEvent) -> bytes:
    """A stored event as its JSON envelope."""
    return event_payload(
        event.event_type,
        json_string(event.user_id),
        event.timestamp,
        event.data,
        critical=event.is_critical,
        sequence_number=event.sequence_number,
        client_message_id=event.client_message_id,
    )


def stored_frame(event: StoredEvent) -> bytes:
    """A stored event as a WebSocket frame."""
    return text_frame(stored_payload(event))
