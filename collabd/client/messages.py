"""What goes over the wire: client messages made and checked, server messages read.

Law of this file: pure functions and frozen values; JSON text in, JSON text out. Field names are those of
docs/protocol.md; nothing here knows queues, connections or time.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from collabd.client.errors import InvalidEventType, UnserialisableData
from collabd.client.settings import MAX_NESTING

RESERVED_TYPES: Final = frozenset(
    ["WELCOME", "ACK", "ERROR", "PING", "PONG", "AUTH", "AUTH_OK", "CLIENT_HEALTH", "USER_JOIN", "USER_LEAVE", "DRAIN"]
)
_EXACT: Final = 2**53  # integers up to here are the same for every client
_EVENT_TYPE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,49}", re.ASCII)
_BAD_TEXT: Final = re.compile("[\0\ud800-\udfff]")


class Malformed(Exception):
    """A server message or answer that is not what the protocol says; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the application gets it (docs/protocol.md, "The event envelope").

    `timestamp` is in milliseconds since 1970, `sequence_number` None for a transient event.
    """

    event_type: str
    user_id: str | None
    timestamp: int | None
    sequence_number: int | None
    data: Any
    is_critical: bool
    client_message_id: str | None

    def envelope(self) -> dict[str, Any]:
        """The event as the protocol's JSON object."""
        values = {
            "eventType": self.event_type,
            "userId": self.user_id,
            "timestamp": self.timestamp,
            "sequenceNumber": self.sequence_number,
            "data": self.data,
            "isCritical": self.is_critical,
            "clientMessageId": self.client_message_id,
        }
        return {name: value for name, value in values.items() if value is not None or name == "data"}


@dataclass(frozen=True, slots=True)
class Reset:
    """The run's history is another than the application followed: throw the old state away and take `events`.

    `reason` is `epoch_changed`, `trimmed` or `ahead_of_log`; `sequence_number` the head that the state is true for.
    """

    reason: str
    epoch: str
    sequence_number: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """A point in a run's history: the number of the last event seen, and the epoch it belongs to."""

    epoch: str
    sequence_number: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The head of WELCOME, of a poll answer, or of a replay answer (no presence in that one)."""

    epoch: str
    sequence_number: int
    recovered: bool
    reset_reason: str | None
    run_state: tuple[Event, ...]
    events: tuple[Event, ...]
    session_id: str | None
    active_users: tuple[str, ...]
    cursors: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Welcome:
    """WELCOME: a snapshot whose events follow one by one, and what the connection goes by."""

    snapshot: Snapshot
    replay_count: int
    server_time_ms: int
    heartbeat_interval_s: float
    max_message_bytes: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The server has the message: `sequence_number` is None for a transient event."""

    client_message_id: str
    sequence_number: int | None
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ERROR: `client_message_id` None when it is about something else than a queued message."""

    code: str
    message: str
    client_message_id: str | None
    retryable: bool
    retry_after_ms: int | None


def check_event_type(event_type: object) -> None:
    """Raise InvalidEventType unless an application may send this type (R11)."""
    if not isinstance(event_type, str):
        raise InvalidEventType(repr(event_type), f"it is a {type(event_type).__name__}, no str")
    if not _EVENT_TYPE.fullmatch(event_type):
        raise InvalidEventType(event_type, "a type is A to Z, 0 to 9 and _, starts with a letter, has at most 50")
    if event_type in RESERVED_TYPES:
        raise InvalidEventType(event_type, "that type is the server's own")


def check_data(data: object) -> None:
    """Raise UnserialisableData unless every receiver can read `data` as JSON (R11). Walks without recursion."""
    waiting: list[tuple[object, int]] = [(data, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list | tuple):
            if depth == MAX_NESTING:
                raise UnserialisableData(f"it is nested deeper than {MAX_NESTING} levels, or contains itself")
            if isinstance(value, dict):
                for key in value:
                    _check_key(key)
                waiting.extend((inner, depth + 1) for inner in value.values())
            else:
                waiting.extend((inner, depth + 1) for inner in value)
        else:
            _check_scalar(value)


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise UnserialisableData(f"the key {key!r} is a {type(key).__name__}; keys of a JSON object are strings")
    _check_scalar(key)


def _check_scalar(value: object) -> None:
    if isinstance(value, str):
        if _BAD_TEXT.search(value):
            raise UnserialisableData("it has a text with a NUL character or half a surrogate pair")
    elif isinstance(value, int):
        if abs(value) > sys.float_info.max:
            raise UnserialisableData("it has an integer beyond the range of a double")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise UnserialisableData(f"it has the number {value}, which JSON does not know")
    elif value is not None:
        raise UnserialisableData(f"a {type(value).__name__} is no JSON value; use dict, list, str, int, float or bool")


def dump(value: object) -> str:
    """Compact JSON text of a value that is known to be JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_message(event_type: str, data: object, client_message_id: str | None) -> str:
    """A client message as JSON text; the caller has checked its parts."""
    message: dict[str, object] = {"eventType": event_type, "data": data}
    if client_message_id is not None:
        message["clientMessageId"] = client_message_id
    return dump(message)


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object, or Malformed."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("it is not JSON") from None
    if not isinstance(value, dict):
        raise Malformed("it is no JSON object")
    return value


def field(source: Mapping[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """`source[name]` if it is of `kind` (a bool is no int), `default` if it is absent or null, else Malformed."""
    value = source.get(name)
    if value is None and default is not ...:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"{name} is missing or no {kind.__name__}")
    if isinstance(value, int) and abs(value) > _EXACT:
        raise Malformed(f"{name} is beyond the integers of the protocol")
    return value


def _counted(source: Mapping[str, Any], name: str, least: int = 0) -> int:
    number: int = field(source, name, int)
    if number < least:
        raise Malformed(f"{name} is below {least}")
    return number


def read_event(source: Mapping[str, Any]) -> Event:
    """An event from its envelope."""
    return Event(
        event_type=field(source, "eventType", str),
        user_id=field(source, "userId", str, None),
        timestamp=field(source, "timestamp", int, None),
        sequence_number=field(source, "sequenceNumber", int, None),
        data=source.get("data"),
        is_critical=field(source, "isCritical", bool, False),
        client_message_id=field(source, "clientMessageId", str, None),
    )


def _read_events(source: Mapping[str, Any], name: str) -> tuple[Event, ...]:
    events = tuple(read_event(item) for item in field(source, name, list, []) if isinstance(item, dict))
    if any(event.sequence_number is None for event in events):
        raise Malformed(f"{name} has an event without a number")
    return events


def read_snapshot(source: Mapping[str, Any]) -> Snapshot:
    """The part that WELCOME's data, a poll answer and a replay answer share."""
    return Snapshot(
        epoch=field(source, "epoch", str),
        sequence_number=field(source, "sequenceNumber", int),
        recovered=field(source, "recovered", bool, False),
        reset_reason=field(source, "resetReason", str, None),
        run_state=_read_events(source, "runState"),
        events=_read_events(source, "events"),
        session_id=field(source, "sessionId", str, None),
        active_users=tuple(str(user) for user in field(source, "activeUsers", list, [])),
        cursors=field(source, "cursorPositions", dict, {}),
    )


def read_welcome(source: Mapping[str, Any]) -> Welcome:
    """WELCOME from its whole message; Malformed if it is anything else (R42, R45)."""
    if source.get("eventType") != "WELCOME":
        raise Malformed(f"its first message is {str(source.get('eventType'))[:50]!r}, not WELCOME")
    data = field(source, "data", dict)
    field(data, "sessionId", str)
    return Welcome(
        snapshot=read_snapshot(data),
        replay_count=_counted(data, "replayCount"),
        server_time_ms=field(data, "serverTime", int),
        heartbeat_interval_s=_counted(data, "heartbeatIntervalMs", 1) / 1000,
        max_message_bytes=_counted(data, "maxMessageBytes", 1),
    )


def read_answer(data: Mapping[str, Any]) -> Ack | Refusal:
    """The data of an ACK or ERROR message, or one element of a publish answer."""
    if "code" in data:
        return Refusal(
            code=field(data, "code", str),
            message=field(data, "message", str, ""),
            client_message_id=field(data, "clientMessageId", str, None),
            retryable=field(data, "retryable", bool, False),
            retry_after_ms=field(data, "retryAfterMs", int, None),
        )
    return Ack(
        client_message_id=field(data, "clientMessageId", str),
        sequence_number=field(data, "sequenceNumber", int, None),
        duplicate=field(data, "duplicate", bool, False),
    )
