"""The names of the protocol and the patterns they must match.

Law of this file: constants and anchored ASCII patterns only. `uuid.UUID()` and `int()` accept far too much
("{…}", "urn:uuid:…", "１２", " 1_0 "), so nothing here is parsed by them.
"""

from __future__ import annotations

import re
from typing import Final

from collabd.errors import ProtocolError

PROTOCOL_VERSION: Final = "collabd.v1"
"""The WebSocket subprotocol that is selected when a client offers it."""

RESERVED_EVENT_TYPES: Final = frozenset(
    {
        "WELCOME",
        "ACK",
        "ERROR",
        "PING",
        "PONG",
        "AUTH",
        "AUTH_OK",
        "CLIENT_HEALTH",
        "USER_JOIN",
        "USER_LEAVE",
        "DRAIN",
    }
)
"""Names that no application event may have."""

MAX_SEQUENCE_NUMBER: Final = 2**53 - 1
"""The largest integer that every JSON parser keeps exactly."""

MAX_USER_ID_LENGTH: Final = 255
"""Unicode code points."""

_RUN_ID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_EVENT_TYPE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,49}", re.ASCII)
_CLIENT_MESSAGE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_INTEGER: Final = re.compile(r"(?:0|[1-9][0-9]{0,15})", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

is_event_type = _EVENT_TYPE.fullmatch
is_client_message_id = _CLIENT_MESSAGE_ID.fullmatch


def parse_run_id(text: str) -> str:
    """A run id in its canonical lower-case form. Raises ProtocolError (invalid_parameter)."""
    if not _RUN_ID.fullmatch(text):
        raise ProtocolError("invalid_parameter", "runId must be a UUID like 3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d")
    return text.lower()


def parse_user_id(text: str) -> str:
    """A user id: 1 to 255 code points without control characters. Raises ProtocolError (invalid_parameter)."""
    if not 1 <= len(text) <= MAX_USER_ID_LENGTH:
        raise ProtocolError("invalid_parameter", f"userId must have 1 to {MAX_USER_ID_LENGTH} characters")
    if _CONTROL.search(text) or _has_surrogate(text):
        raise ProtocolError("invalid_parameter", "userId must not contain control characters")
    return text


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def parse_integer(name: str, text: str, *, low: int, high: int) -> int:
    """Plain ASCII digits within low to high, both included. Raises ProtocolError (invalid_parameter)."""
    if _INTEGER.fullmatch(text):
        value = int(text)
        if low <= value <= high:
            return value
    raise ProtocolError("invalid_parameter", f"{name} must be a whole number from {low} to {high}")


def known_session_id(text: str | None) -> str | None:
    """The session id a client presents, or None where it has not even the form of one (it gets a new one then)."""
    return text if text and _SESSION_ID.fullmatch(text) else None
