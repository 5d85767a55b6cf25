"""What the rest of collabd asks of a store, and nothing about how one is built.

Law of this file: no SQLite, no Trio. An engine for many machines (Redis or Valkey Streams) goes behind exactly this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from collabd.auth import Revocation


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """One event on its way into the log; it has no number until its commit gives it one.

    `data` is checked JSON text, kept byte for byte; `timestamp` is in milliseconds since 1970; `state_key` is the
    value at the type's state key (docs/protocol.md, "runState"), or None for an event that is no state.
    """

    run_id: str
    user_id: str
    event_type: str
    data: bytes
    timestamp: int
    is_critical: bool
    client_message_id: str | None = None
    state_key: str | None = None


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """One event as the log keeps it."""

    sequence_number: int
    user_id: str
    event_type: str
    data: bytes
    timestamp: int
    is_critical: bool
    client_message_id: str | None


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one NewEvent: a new number, a duplicate of an earlier one, or an id reused for other content.

    `sequence_number` is that of the event that the id names; for a reused id it is 0 and nothing was written.
    """

    sequence_number: int
    duplicate: bool = False
    reused: bool = False


class AppendResult(msgspec.Struct, frozen=True):
    """One commit: an outcome for each event in the order given, and what was trimmed with it.

    `oldest` maps each run that got an event to its oldest retained number after the commit;
    `state_changed` names runs whose kept state (Store.run_state) may have changed by trimming.
    """

    outcomes: list[Outcome]
    oldest: dict[str, int]
    state_changed: frozenset[str]


class RunHead(msgspec.Struct, frozen=True):
    """Where a run's log stands: `head` 0 and `oldest` 1 for a run without events. Times in milliseconds since 1970."""

    run_id: str
    created_at: int
    head: int
    oldest: int
    last_event_at: int | None = None


class EventPage(msgspec.Struct, frozen=True):
    """Part of a run's log, read at one instant.

    `total` is how many matched before limit and size cut the list (0 when not counted); `oldest` the oldest retained
    number of the run at that instant (1 for a run without events); `complete` is false when limit or size cut it.
    """

    events: list[StoredEvent]
    total: int = 0
    oldest: int = 1
    complete: bool = True


class DiskUsage(msgspec.Struct, frozen=True):
    """What the log takes on its disk and what is left there (bytes); all 0 where there is no disk."""

    database_bytes: int
    wal_bytes: int
    free_bytes: int


class Span(msgspec.Struct, frozen=True):
    """When the first and the last of all retained events were committed (milliseconds since 1970), None without any."""

    oldest_at: int | None
    newest_at: int | None


class Store(Protocol):
    """A durable, ordered log of events per run. All methods are called from the Trio thread."""

    @property
    def epoch(self) -> str:
        """The name of the history that all numbers of this store belong to (docs/protocol.md, "epoch")."""

    def disk_usage(self) -> DiskUsage:
        """What the log takes on disk."""

    async def span(self) -> Span:
        """How old what is retained is. Raises StorageUnavailable."""

    async def probe(self) -> None:
        """Return when whoever writes the log has an answer to give, after the commits that wait before it.

        Not interrupted by cancellation once it has begun. Raises StorageFailed.
        """

    async def append(self, events: Sequence[NewEvent]) -> AppendResult:
        """Number and keep these events in one durable commit, or keep none of them.

        Once-only by (run, user, clientMessageId) is decided inside the same commit. Called by one task at a time.
        Not interrupted by cancellation once it has begun.

        Raises StorageUnavailable (nothing was written, may work later) and StorageFailed (give up, restart).
        """

    async def head(self, run_id: str) -> RunHead | None:
        """Where a run's log stands, or None for a run that has no row."""

    async def read(
        self,
        run_id: str,
        *,
        first: int,
        last: int | None = None,
        limit: int | None = None,
        max_bytes: int | None = None,
        critical_only: bool = False,
        event_type: str | None = None,
        count: bool = False,
    ) -> EventPage:
        """Retained events with first ≤ number ≤ last, in order, at most `limit` and about `max_bytes` of data.

        At least one matching event is given however large it is. `total` is counted only when `count` is true
        (before limit and max_bytes), else 0. Raises DamagedEvent, StorageUnavailable.
        """

    async def read_newest(self, run_id: str, *, max_bytes: int) -> list[StoredEvent]:
        """The newest retained events of a run whose data fits max_bytes (bytes), in order: to fill a run's memory."""

    async def critical_flags(self, run_id: str) -> bytes:
        """One byte (0 or 1) for each retained event from the oldest to the head: is it critical?"""

    async def run_state(self, run_id: str) -> list[StoredEvent]:
        """The kept newest event of each (type, state key) that was trimmed from the log, oldest first."""

    async def runs(self, *, limit: int) -> list[RunHead]:
        """Runs that have a row, the one whose newest event is the youngest first."""

    async def run_count(self) -> int:
        """How many runs have a row."""

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation, durably. One of a user that is known already never moves back in time.

        Raises StorageUnavailable and StorageFailed as append does.
        """

    async def revocations(self) -> list[Revocation]:
        """Every revocation that is kept. Raises StorageUnavailable."""
