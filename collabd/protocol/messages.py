"""What a client may send: bytes to a checked message (docs/protocol.md, "Client to server").

Law of this file: everything that reaches the hub went through `Intake.decode`; it is the hot path of reading
(one decode, one check of the data, two dictionary look-ups), so it is written with that in mind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from collabd.errors import ProtocolError
from collabd.protocol.json_text import check_json_text
from collabd.protocol.names import MAX_SEQUENCE_NUMBER, RESERVED_EVENT_TYPES, is_client_message_id, is_event_type

CONTROL_TYPES: Final = frozenset({"PING", "AUTH", "CLIENT_HEALTH"})
"""Messages for the server itself; they are no events and take no clientMessageId."""

# What clients say of themselves is kept and added up, so it is held to what can be meant.
_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_SEQUENCE_NUMBER)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=86_400_000)]
_Word = Annotated[str, msgspec.Meta(max_length=32)]


class EventKind(msgspec.Struct, frozen=True, gc=False):
    """How the server treats one event type: stored or not, critical or not, and the data key that names its state."""

    name: str
    persisted: bool = False
    critical: bool = False
    state_key: str | None = None


class ClientMessage(msgspec.Struct, frozen=True, gc=False):
    """One checked application event: `data` is JSON text as sent; `state_key` the JSON text at the type's key."""

    kind: EventKind
    data: bytes
    client_message_id: str | None
    state_key: str | None = None


class Ping(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """PING's data: `sentAt` is echoed; `lastSequence` is the highest number that the client has processed."""

    sent_at: msgspec.Raw = msgspec.Raw(b"null")
    last_sequence: _Count | None = None


class ClientHealth(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """CLIENT_HEALTH's data: what only the client can know. Latency in milliseconds."""

    latency_ms: _Milliseconds | None = None
    queued_messages: _Count = 0
    reconnection_count: _Count = 0
    using_fallback: bool = False
    transport: _Word = ""


class Auth(msgspec.Struct, frozen=True, gc=False):
    """AUTH's data: a token that takes the place of the connection's present one."""

    token: str


ControlMessage = Ping | ClientHealth | Auth
_CONTROL_DATA: Final[dict[str, Any]] = {
    "PING": msgspec.json.Decoder(Ping),
    "CLIENT_HEALTH": msgspec.json.Decoder(ClientHealth),
    "AUTH": msgspec.json.Decoder(Auth),
}


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False, rename="camel"):
    """One message as it comes: what is in `data` depends on its type."""

    event_type: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    client_message_id: str | None = None


_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode


class Intake:
    """Turns client bytes into messages, knowing which event types this server stores.

    `critical` and `persisted` are lists of event type names; `state_keys` maps a type to the data key that names
    its place in the run's state (events.critical_event_types, .persisted_event_types, .state_keys).
    """

    def __init__(
        self, *, critical: Iterable[str], persisted: Iterable[str] = (), state_keys: Mapping[str, str] | None = None
    ) -> None:
        keys = state_keys or {}
        self.kinds: dict[str, EventKind] = {name: EventKind(name, persisted=True) for name in persisted}
        # A late joiner is replayed critical events only, so only for those can kept state complete the picture.
        self.kinds |= {name: EventKind(name, True, True, keys.get(name)) for name in critical}

    def kind(self, event_type: str) -> EventKind:
        """How this server treats the event type. Raises ProtocolError (invalid_ or reserved_event_type)."""
        return self.kinds.get(event_type) or _transient_kind(event_type)

    def decode(self, text: bytes) -> ClientMessage | ControlMessage:
        """One message from its JSON text. Raises ProtocolError, with the clientMessageId where it could be read."""
        try:
            envelope = _decode_envelope(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _envelope_error(text, error) from error
        message_id = envelope.client_message_id
        if message_id is not None and not is_client_message_id(message_id):
            raise ProtocolError("invalid_parameter", "clientMessageId must be 1 to 64 characters of [A-Za-z0-9._:-]")
        try:
            return self._message(envelope, message_id)
        except ProtocolError as error:
            error.client_message_id = message_id
            raise

    def _message(self, envelope: Envelope, message_id: str | None) -> ClientMessage | ControlMessage:
        data = bytes(envelope.data)
        if envelope.event_type in CONTROL_TYPES:
            return _control_message(envelope.event_type, data, message_id)
        kind = self.kind(envelope.event_type)
        try:
            check_json_text(data)
        except ValueError as error:
            raise ProtocolError("invalid_json", f"data: {error}") from error
        state_key = None if kind.state_key is None else _state_key(data, kind.state_key)
        return ClientMessage(kind, data, message_id, state_key)


@lru_cache(maxsize=1024)  # most of what is sent is a cursor's move
def _transient_kind(event_type: str) -> EventKind:
    if not is_event_type(event_type):
        raise ProtocolError("invalid_event_type", "eventType must match [A-Z][A-Z0-9_]{0,49}")
    if event_type in RESERVED_EVENT_TYPES:
        raise ProtocolError("reserved_event_type", f"{event_type} is the server's own; choose another name")
    return EventKind(event_type)


def state_place(kinds: Mapping[str, EventKind], event_type: str, data: bytes) -> tuple[str, str] | None:
    """The (type, key value) that an event is the state of, None for an event that is no state."""
    kind = kinds.get(event_type)
    if kind is None or kind.state_key is None:
        return None
    value = _state_key(data, kind.state_key)
    return None if value is None else (event_type, value)


def _control_message(event_type: str, data: bytes, message_id: str | None) -> ControlMessage:
    if message_id is not None:
        raise ProtocolError("invalid_parameter", f"{event_type} takes no clientMessageId")
    try:
        check_json_text(data)
        message: ControlMessage = _CONTROL_DATA[event_type].decode(b"{}" if data == b"null" else data)
    except msgspec.ValidationError as error:
        raise ProtocolError("invalid_parameter", f"data of {event_type}: {error}") from error
    except ValueError as error:
        raise ProtocolError("invalid_json", f"data: {error}") from error
    return message


def _state_key(data: bytes, key: str) -> str | None:
    """The JSON text at data[key] when it is a string or a number, which names the event's place in the run's state."""
    value = msgspec.json.decode(data)
    place = value.get(key) if isinstance(value, dict) else None
    if isinstance(place, bool) or not isinstance(place, str | int | float):
        return None
    return msgspec.json.encode(place).decode()


def _envelope_error(text: bytes, error: Exception) -> ProtocolError:
    """Say what is wrong with a message that is no envelope, and find its clientMessageId where there is one."""
    sentence = _sentence(text, error)
    message_id = _find_message_id(text)
    if isinstance(error, msgspec.ValidationError):
        if "unknown field" in sentence:
            return ProtocolError(
                "unknown_key",
                f"{sentence}; a message has eventType, data and clientMessageId",
                client_message_id=message_id,
            )
        if "eventType" in sentence:
            return ProtocolError(
                "invalid_event_type", f"eventType must be a string: {sentence}", client_message_id=message_id
            )
        if "clientMessageId" in sentence:
            return ProtocolError("invalid_parameter", f"clientMessageId must be a string: {sentence}")
    return ProtocolError("invalid_json", f"a message is one JSON object: {sentence}", client_message_id=message_id)


def _sentence(text: bytes, error: Exception) -> str:
    """What is wrong, in the words that the same mistake gets inside of `data`."""
    if not isinstance(error, msgspec.ValidationError):
        try:
            check_json_text(text)
        except ValueError as reason:
            return str(reason)
    return str(error)


def _find_message_id(text: bytes) -> str | None:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    found = value.get("clientMessageId") if isinstance(value, dict) else None
    return found if isinstance(found, str) and is_client_message_id(found) else None
