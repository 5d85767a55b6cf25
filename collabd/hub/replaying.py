"""Replay by number and the list of runs: reads that leave no trace.

Law of this file: it knows requests and answers, not HTTP. Rules: docs/protocol.md, "HTTP: polling, replay, publishing".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from collabd.errors import CollabdError, ProtocolError
from collabd.hub import admission
from collabd.hub.joining import open_run
from collabd.hub.reading import Part, replay
from collabd.protocol.codec import json_array
from collabd.protocol.names import parse_run_id
from collabd.protocol.requests import parse_limit, parse_query, parse_replay

if TYPE_CHECKING:
    from collabd.auth import Identity
    from collabd.hub.admission import Caller
    from collabd.hub.hub import Hub
    from collabd.hub.run import Run
    from collabd.store.interface import RunHead

LISTED_USERS: Final = 5
"""How many users of each run the list of runs names."""


async def replay_run(hub: Hub, caller: Caller, run_text: str, query: bytes) -> bytes:
    """Answer a replay with JSON. Raises ProtocolError with what to answer instead."""
    admission.refuse_while_draining(hub)
    run_id = parse_run_id(run_text)
    request = parse_replay(parse_query(query))
    identity = admission.authenticate(hub, caller)
    admission.check_rights(identity, run_id)
    run = await open_run(hub, run_id, create=False)
    if run is None and not hub.config.runs.auto_create:
        raise admission.run_not_found()
    try:
        part = Part([], 0, 0) if run is None else await replay(run, request)
    except CollabdError as error:
        hub.log_fault(f"a replay of run {run_id} could not be answered", error)
        raise ProtocolError("storage_unavailable", "the run's log cannot be read just now") from error
    head = 0 if run is None else run.ring.head
    return msgspec.json.encode(
        {
            "runId": run_id,
            "epoch": hub.store.epoch,
            "oldestSequence": 1 if run is None else run.ring.oldest,
            "sequenceNumber": head,
            "events": msgspec.Raw(json_array(part.payloads)),
            "totalEvents": part.total,
            "nextSequence": part.reached + 1 if part.reached < head else None,
        }
    )


async def list_runs(hub: Hub, caller: Caller, query: bytes) -> bytes:
    """Answer with the runs that the caller may read, the newest first. Raises ProtocolError."""
    admission.refuse_while_draining(hub)
    limit = parse_limit(parse_query(query), default=100)
    identity = admission.authenticate(hub, caller)
    try:
        stored = await _stored_runs(hub, identity, limit)
    except CollabdError as error:
        hub.log_fault("runs could not be listed", error)
        raise ProtocolError("storage_unavailable", "runs cannot be listed just now") from error
    return msgspec.json.encode(_newest(hub, identity, stored, limit))


async def _stored_runs(hub: Hub, identity: Identity, limit: int) -> list[RunHead]:
    """The newest runs with a row; all of those that a token names, however old."""
    if "*" in identity.runs:
        return await hub.store.runs(limit=limit)
    heads = [await hub.store.head(run_id) for run_id in identity.runs]
    return [head for head in heads if head is not None]


def _newest(hub: Hub, identity: Identity, stored: list[RunHead], limit: int) -> list[dict[str, Any]]:
    """Runs with a row, and those that were only joined so far."""
    rows = {head.run_id: _idle_row(head) for head in stored}
    for run in hub.runs.values():
        rows[run.run_id] = _live_row(run)
    allowed = [row for row in rows.values() if identity.may_enter(row["runId"])]
    return sorted(allowed, key=lambda row: row["createdAt"], reverse=True)[:limit]


def _idle_row(head: RunHead) -> dict[str, Any]:
    return {
        "runId": head.run_id,
        "createdAt": head.created_at,
        "lastActivityAt": head.last_event_at or head.created_at,
        "sequenceNumber": head.head,
        "connectionCount": 0,
        "activeUserCount": 0,
        "activeUsers": [],
    }


def _live_row(run: Run) -> dict[str, Any]:
    return {
        "runId": run.run_id,
        "createdAt": run.created_at,
        "lastActivityAt": run.last_event_at or run.created_at,
        "sequenceNumber": run.ring.head,
        "connectionCount": run.attendance.connection_count,
        "activeUserCount": len(run.attendance.presence),
        "activeUsers": run.attendance.presence.users()[:LISTED_USERS],
    }
