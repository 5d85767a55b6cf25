"""Every constant of docs/client-behaviour.md, "Constants", under its name there; seconds instead of milliseconds.

Law of this file: numbers and nothing else. `Settings` are the application's choice, the rest is fixed by the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BACKOFF_BASE_S: Final = 0.5
BACKOFF_CAP_S: Final = 10.0
PROBE_CAP_S: Final = 20.0
CONNECT_TIMEOUT_S: Final = 5.0
STABLE_AFTER_S: Final = 5.0
LATE_ATTEMPT_S: Final = 60.0
WAKE_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 10.0
SEND_WINDOW: Final = 32
CURSOR_INTERVAL_S: Final = 0.05
HEALTH_INTERVAL_S: Final = 30.0
TOKEN_LEEWAY_S: Final = 60.0
RENEWAL_RETRY_S: Final = 5.0
SHORTEST_RENEWAL_S: Final = 1.0
HTTP_BATCH_MESSAGES: Final = 100
HTTP_BATCH_BYTES: Final = 524_288
HELD_EVENTS: Final = 1000
DEFAULT_RATE_WAIT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
REPLAY_LIMIT: Final = 1000
SHORTEST_POLL_S: Final = 0.1
LONGEST_POLL_S: Final = 600.0
MAX_NESTING: Final = 32
WAITING_EVENTS: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an application may choose; None: what the server says in `GET /api/client-config`, else the default.

    `leave_timeout_s`: how long leaving the run waits for queued messages. The `*_s` fields are seconds.
    """

    max_queued_messages: int = 1000
    max_queued_bytes: int = 16_777_216
    leave_timeout_s: float = 5.0
    max_reconnect_attempts: int | None = None
    polling_interval_s: float | None = None
    message_retry_limit: int | None = None


@dataclass
class Limits:
    """What holds now: the application's choice, else the server's word, else the defaults of the protocol."""

    max_reconnect_attempts: int = 5
    polling_interval_s: float = 2.0
    message_retry_limit: int = 3
    heartbeat_interval_s: float = 10.0
    max_message_bytes: int = 65_536
