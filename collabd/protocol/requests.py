"""Paths and queries of the collaboration routes, parsed the same way for WebSocket and HTTP.

Law of this file: text in, checked values out, ProtocolError for everything else (docs/protocol.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from collabd.errors import ProtocolError
from collabd.protocol.names import MAX_SEQUENCE_NUMBER, known_session_id, parse_integer, parse_run_id, parse_user_id
from collabd.protocol.seam import Position

MAX_LIMIT: Final = 1000
MAX_WAIT_MS: Final = 30_000
_MAX_EPOCH: Final = 128
_REMEMBERED_BYTES: Final = 512
_SOCKET_PATH: Final = re.compile(r"/ws/runs/([^/]*)/collaboration", re.ASCII)


class JoinRequest(NamedTuple):
    """Who wants to join which run, and from which position. `user_id` is None where a token has to name it."""

    run_id: str
    user_id: str | None
    session_id: str | None
    position: Position | None
    reconnect_attempt: int


class PollRequest(NamedTuple):
    """A poll's query; `wait_ms` is how long an empty answer may be held back (milliseconds)."""

    user_id: str | None
    session_id: str | None
    epoch: str | None
    after: int
    limit: int
    wait_ms: int


class ReplayRequest(NamedTuple):
    """A replay's query."""

    first: int
    limit: int
    critical_only: bool
    event_type: str | None


def socket_run_id(path: str) -> str:
    """The run id of a WebSocket path. Raises ProtocolError: not_found for another path, invalid_parameter."""
    match = _SOCKET_PATH.fullmatch(path)
    if match is None:
        raise ProtocolError("not_found", "there is no WebSocket here; runs are at /ws/runs/{runId}/collaboration")
    return parse_run_id(match[1])


def parse_query(query: bytes) -> dict[str, str]:
    """Query parameters; where one is given twice the first counts. Raises ProtocolError (invalid_parameter)."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise ProtocolError("invalid_parameter", "the query is not valid percent-encoded UTF-8") from error
    return dict(reversed(pairs))


def parse_join(run_id: str, query: Mapping[str, str]) -> JoinRequest:
    """The query of a WebSocket request. Raises ProtocolError (invalid_parameter, epoch_required)."""
    return JoinRequest(
        run_id=run_id,
        user_id=_user_id(query),
        session_id=known_session_id(query.get("sessionId")),
        position=_position(query),
        reconnect_attempt=_integer(query, "reconnectAttempt", default=0, low=0, high=1_000_000),
    )


def parse_poll(query: Mapping[str, str]) -> PollRequest:
    """The query of a poll. Raises ProtocolError (invalid_parameter)."""
    return PollRequest(
        user_id=_user_id(query),
        session_id=known_session_id(query.get("sessionId")),
        epoch=_epoch(query),
        after=_integer(query, "afterSequence", default=0, low=0, high=MAX_SEQUENCE_NUMBER),
        limit=_integer(query, "limit", default=MAX_LIMIT, low=1, high=MAX_LIMIT),
        wait_ms=_integer(query, "wait", default=0, low=0, high=MAX_WAIT_MS),
    )


def read_poll(query: bytes) -> PollRequest:
    """The raw query of a poll. Raises ProtocolError (invalid_parameter).

    Who found nothing new asks the same again, so what short queries mean is remembered.
    """
    return (_remembered_poll if len(query) <= _REMEMBERED_BYTES else _read_poll)(query)


def _read_poll(query: bytes) -> PollRequest:
    return parse_poll(parse_query(query))


_remembered_poll: Final = lru_cache(maxsize=1024)(_read_poll)


def parse_replay(query: Mapping[str, str]) -> ReplayRequest:
    """The query of a replay. Raises ProtocolError (invalid_parameter, invalid_event_type)."""
    event_type = query.get("eventType")
    if event_type is not None and not re.fullmatch(r"[A-Z][A-Z0-9_]{0,49}", event_type, re.ASCII):
        raise ProtocolError("invalid_event_type", "eventType must match [A-Z][A-Z0-9_]{0,49}")
    return ReplayRequest(
        first=_integer(query, "fromSequence", default=1, low=0, high=MAX_SEQUENCE_NUMBER),
        limit=_integer(query, "limit", default=100, low=1, high=MAX_LIMIT),
        critical_only=_flag(query, "criticalOnly"),
        event_type=event_type,
    )


def parse_sender(query: Mapping[str, str]) -> tuple[str | None, str | None]:
    """`userId` and `sessionId` of a publish. Raises ProtocolError (invalid_parameter)."""
    return _user_id(query), known_session_id(query.get("sessionId"))


def parse_limit(query: Mapping[str, str], *, default: int) -> int:
    """A `limit` of 1 to 1000. Raises ProtocolError (invalid_parameter)."""
    return _integer(query, "limit", default=default, low=1, high=MAX_LIMIT)


def _user_id(query: Mapping[str, str]) -> str | None:
    return parse_user_id(query["userId"]) if "userId" in query else None


def _position(query: Mapping[str, str]) -> Position | None:
    after, epoch = query.get("afterSequence"), _epoch(query)
    if after is None and epoch is None:
        return None
    if after is None or epoch is None:
        raise ProtocolError(
            "epoch_required", "afterSequence and epoch belong together: give both to resume, or neither"
        )
    return Position(epoch, parse_integer("afterSequence", after, low=0, high=MAX_SEQUENCE_NUMBER))


def _epoch(query: Mapping[str, str]) -> str | None:
    epoch = query.get("epoch")
    if epoch is not None and not 1 <= len(epoch) <= _MAX_EPOCH:
        raise ProtocolError("invalid_parameter", f"epoch must have 1 to {_MAX_EPOCH} characters")
    return epoch


def _integer(query: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    text = query.get(name)
    return default if text is None else parse_integer(name, text, low=low, high=high)


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise ProtocolError("invalid_parameter", f"{name} must be true or false")
    return text == "true"
