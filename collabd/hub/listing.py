"""The list of runs, the one where something happened last first.

Law of this file: a read that leaves no trace. What is in memory is told as it is now; what only the log knows may be
told as it was a moment ago, since finding the newest event of every run costs a look at every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import trio

from collabd.errors import CollabdError, ProtocolError
from collabd.hub import admission
from collabd.protocol.requests import MAX_LIMIT, parse_limit, parse_query

if TYPE_CHECKING:
    from collabd.auth import Identity
    from collabd.hub.admission import Caller
    from collabd.hub.hub import Hub
    from collabd.hub.run import Run
    from collabd.store.interface import RunHead, Store

LISTED_USERS: Final = 5
"""How many users of each run the list of runs names."""

_SHARE: Final = 20
"""Listing may take one part in so many of the time: 10,000 runs were measured to cost 0.1 to 0.3 s a look."""


class RunList(NamedTuple):
    """An answer: JSON, and how many runs there are in all that the caller may see."""

    body: bytes
    total: int


class StoredRuns:
    """The runs that have a row, asked for no oftener than a look costs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._one_at_a_time = trio.Lock()
        self._heads: list[RunHead] = []
        self._total = 0
        self._good_until = float("-inf")

    async def newest(self) -> tuple[list[RunHead], int]:
        """The first MAX_LIMIT by last activity, and how many there are. Raises CollabdError."""
        async with self._one_at_a_time:
            began = trio.current_time()
            if began >= self._good_until:
                self._heads = await self._store.runs(limit=MAX_LIMIT)
                self._total = await self._store.run_count()
                now = trio.current_time()
                self._good_until = now + (_SHARE - 1) * (now - began)
            return self._heads, self._total


async def list_runs(hub: Hub, caller: Caller, query: bytes) -> RunList:
    """The runs that the caller may read. Raises ProtocolError."""
    admission.refuse_while_draining(hub)
    limit = parse_limit(parse_query(query), default=100)
    identity = admission.authenticate(hub, caller)
    try:
        stored, count = await _stored(hub, identity)
    except CollabdError as error:
        hub.log_fault("runs could not be listed", error)
        raise ProtocolError("storage_unavailable", "runs cannot be listed just now") from error
    rows = {head.run_id: _idle_row(head) for head in stored}
    live = [run for run in hub.runs.values() if identity.may_enter(run.run_id)]
    rows |= {run.run_id: _live_row(run) for run in live}
    newest_first = sorted(rows.values(), key=lambda row: (row["lastActivityAt"], row["createdAt"]), reverse=True)
    only_joined = sum(run.ring.head == 0 for run in live)
    return RunList(msgspec.json.encode(newest_first[:limit]), count + only_joined)


async def _stored(hub: Hub, identity: Identity) -> tuple[list[RunHead], int]:
    """Runs with a row and their number: the newest ones, or all of those that a token names, however old."""
    if "*" in identity.runs:
        return await hub.stored_runs.newest()
    heads = [await hub.store.head(run_id) for run_id in identity.runs]
    found = [head for head in heads if head is not None]
    return found, len(found)


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
