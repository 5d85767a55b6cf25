"""WebSocket close codes: the code says what the client should do (docs/protocol.md, "Close codes").

Law of this file: one documented row per code; server, clients, metrics and docs are held against it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_UTF8: Final = 1007
TOO_BIG: Final = 1009
RESTART: Final = 1012
HEARTBEAT_TIMEOUT: Final = 4000
TOO_SLOW: Final = 4008
REPLACED: Final = 4009
TOKEN_BAD: Final = 4401
NOT_ALLOWED: Final = 4403
RUN_CLOSED: Final = 4404
RATE_LIMITED: Final = 4429
SERVER_FAULT: Final = 4500


class CloseCode(NamedTuple):
    """What one code means, and whether the client comes back by itself (docs/client-behaviour.md, R29)."""

    meaning: str
    comes_back: bool


CLOSE_CODES: Final[dict[int, CloseCode]] = {
    NORMAL: CloseCode("left", False),
    GOING_AWAY: CloseCode("left the page", True),
    PROTOCOL_ERROR: CloseCode("broken WebSocket framing", True),
    UNSUPPORTED_DATA: CloseCode("unsupported data", True),
    INVALID_UTF8: CloseCode("invalid UTF-8", True),
    TOO_BIG: CloseCode("message too big", True),
    RESTART: CloseCode("server restart", True),
    HEARTBEAT_TIMEOUT: CloseCode("heartbeat timeout", True),
    TOO_SLOW: CloseCode("too slow, queue overflow", True),
    REPLACED: CloseCode("replaced by a newer connection of the same session", False),
    TOKEN_BAD: CloseCode("token expired or bad", True),
    NOT_ALLOWED: CloseCode("not allowed", False),
    RUN_CLOSED: CloseCode("run unknown or closed", False),
    RATE_LIMITED: CloseCode("rate limit broken repeatedly", True),
    SERVER_FAULT: CloseCode("server fault", True),
}


def close_class(code: int | None) -> str:
    """The metrics label of a close code: one of a fixed set, whatever a client sent."""
    if code is None or code in (NO_STATUS, ABNORMAL):
        return "abnormal"
    if code in CLOSE_CODES:
        return str(code)
    return "other"
