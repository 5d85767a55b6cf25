"""The shapes of answers and of what a server says over WebSocket, for the descriptions of the interface.

Law of this file: types alone; what clients send is described by the types that check it (collabd.protocol.messages).
tests/api holds the real answers to these. Field names are camelCase in JSON; `Ms` is milliseconds, times are RFC 3339
strings where a type is `str`, else milliseconds since 1970.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Shape(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An object with these members and no others."""


class Problem(Shape):
    """RFC 9457, with the members of an ERROR."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    client_message_id: str | msgspec.UnsetType = msgspec.UNSET
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET


class Event(Shape):
    """The event envelope."""

    event_type: str
    user_id: str
    timestamp: int
    data: Any
    is_critical: bool
    sequence_number: int | msgspec.UnsetType = msgspec.UNSET
    client_message_id: str | msgspec.UnsetType = msgspec.UNSET


class Poll(Shape):
    """A poll's answer."""

    run_id: str
    user_id: str | None
    session_id: str | None
    epoch: str
    sequence_number: int
    oldest_sequence: int
    recovered: bool
    reset_reason: str | None
    run_state: list[Event]
    events: list[Event]
    has_more: bool
    active_users: list[str]
    cursor_positions: dict[str, Any]
    next_poll_ms: int


class Replay(Shape):
    """A replay's answer."""

    run_id: str
    epoch: str
    oldest_sequence: int
    sequence_number: int
    events: list[Event]
    total_events: int
    next_sequence: int | None


class Ack(Shape):
    """A message that was taken."""

    client_message_id: str | msgspec.UnsetType = msgspec.UNSET
    duplicate: bool | msgspec.UnsetType = msgspec.UNSET
    sequence_number: int | msgspec.UnsetType = msgspec.UNSET


class Error(Shape):
    """A message that was refused."""

    code: str
    message: str
    retryable: bool
    client_message_id: str | msgspec.UnsetType = msgspec.UNSET
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET


class Acks(Shape):
    """A publish's answer: one for each message, in order; an Ack or an Error."""

    acks: list[dict[str, Any]]


class RunRow(Shape):
    """A run in the list."""

    run_id: str
    created_at: int
    last_activity_at: int
    sequence_number: int
    connection_count: int
    active_user_count: int
    active_users: list[str]


class ClientConfig(Shape):
    """What clients are told to do."""

    max_reconnect_attempts: int
    polling_interval_ms: int
    message_retry_limit: int
    heartbeat_interval_ms: int
    max_message_bytes: int


class Status(Shape):
    """UP, or DOWN with a 503."""

    status: str


class Connections(Shape):
    """Sessions by run."""

    total_runs: int
    total_connections: int
    connections_by_run: dict[str, int]


class ConnectionRow(Shape):
    """A session of a run."""

    session_id: str
    user_id: str
    connected_at: str | None
    transport: str
    remote_address: str | None


class RunConnections(Shape):
    """Sessions of one run."""

    run_id: str
    connection_count: int
    connections: list[ConnectionRow]
    active_users: list[str]


class Ended(Shape):
    """A session that was ended."""

    run_id: str
    session_id: str
    reason: str


class SessionFigures(Shape):
    """Figures of a session."""

    session_id: str
    user_id: str
    run_id: str
    connected_at: str | None
    disconnected_at: str | None
    reconnection_count: int
    messages_sent: int
    messages_received: int
    message_failures: int
    average_latency_ms: float | None
    max_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    message_delivery_rate: float
    connection_quality: float
    health_status: str
    queued_bytes: int
    last_activity: str | None
    transport: str
    close_code: int | None


class Timeline(Shape):
    """What happened to a session; an entry has `at`, `event`, `text` and values of its kind."""

    session_id: str
    user_id: str
    run_id: str
    close_code: int | None
    close_reason: str | None
    delivery_lag: int | None
    queued_client_messages: int | None
    timeline: list[dict[str, Any]]


class Health(Shape):
    """The health of all sessions."""

    total_connections: int
    healthy_connections: int
    degraded_connections: int
    unhealthy_connections: int
    average_quality_score: float
    overall_health: str


class History(Shape):
    """The last half hour in steps."""

    interval_ms: float
    samples: list[dict[str, Any]]


class Storage(Shape):
    """What the log takes on its disk, and how old it is."""

    epoch: str
    database_bytes: int | None
    wal_bytes: int | None
    disk_free_bytes: int | None
    oldest_event_at: str | None
    newest_event_at: str | None
    problem: str | None


class Finding(Shape):
    """What is wrong, why, and what to try."""

    severity: str
    topic: str
    what: str
    why: str
    try_: list[str] = msgspec.field(name="try")


class Diagnosis(Shape):
    """All that is wrong."""

    status: str
    at: str | None
    window_ms: int
    figures: dict[str, Any]
    findings: list[Finding]
    public_url: str
    heartbeat_interval_ms: int


class Removed(Shape):
    """How many figures were forgotten."""

    removed: int


class Revoked(Shape):
    """What was revoked, and from when on."""

    revoked_at: str | None
    sub: str | msgspec.UnsetType = msgspec.UNSET
    jti: str | msgspec.UnsetType = msgspec.UNSET


class Welcome(Shape):
    """WELCOME's data."""

    session_id: str
    run_id: str
    user_id: str
    epoch: str
    sequence_number: int
    oldest_sequence: int
    recovered: bool
    replay_count: int
    run_state: list[Event]
    active_users: list[str]
    active_user_count: int
    cursor_positions: dict[str, Any]
    server_time: int
    heartbeat_interval_ms: int
    max_message_bytes: int
    reset_reason: str | msgspec.UnsetType | None = msgspec.UNSET


class Pong(Shape):
    """PONG's data."""

    sent_at: Any
    server_time: int


class AuthOk(Shape):
    """AUTH_OK's data: when the token ends, null for never."""

    expires_at: int | None


class Drain(Shape):
    """DRAIN's data."""

    retry_after_ms: int
