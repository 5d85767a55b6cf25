"""What the tests of the store share: events, a clock that is set by hand, and a log in memory.

Law of this file: no test stands here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from collabd.store.interface import AppendResult, EventPage, NewEvent
from collabd.store.journal import JournalState, Limits, append
from collabd.store.reading import Query, read_page
from collabd.store.schema import migrate

RUN = "6c0a1c9e-3b53-4d3f-9d2a-6f7a52b9a001"
OTHER_RUN = "6c0a1c9e-3b53-4d3f-9d2a-6f7a52b9a002"


class HandClock:
    """Milliseconds since 1970 that pass only when a test says so."""

    def __init__(self, now_ms: int = 1_732_350_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """The time."""
        return self.now_ms


def event(
    message_id: str | None = None,
    *,
    run_id: str = RUN,
    user_id: str = "user_1",
    event_type: str = "GRAFT",
    data: bytes = b'{"after":"ARCHITECT"}',
    timestamp: int = 1_732_350_000_000,
    is_critical: bool = True,
    state_key: str | None = None,
) -> NewEvent:
    """An event of which a test names only what it is about."""
    return NewEvent(run_id, user_id, event_type, data, timestamp, is_critical, message_id, state_key)


def events(count: int, *, run_id: str = RUN) -> list[NewEvent]:
    """So many events without ids, each with data of its own."""
    return [event(run_id=run_id, data=f'{{"n":{n}}}'.encode()) for n in range(count)]


class MemoryLog:
    """The journal and the reading functions on one SQLite connection in memory: fast enough for properties."""

    def __init__(self, *, retention: int = 1000, window_ms: int = 86_400_000) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.connection)
        self.connection.text_factory = bytes
        self.state = JournalState()
        self.limits = Limits(retention, window_ms)
        self.now_ms = 1_732_350_000_000

    def append(self, batch: Sequence[NewEvent]) -> AppendResult:
        """One commit."""
        return append(self.connection, self.state, batch, self.limits, self.now_ms)

    def page(self, run_id: str = RUN) -> EventPage:
        """Everything that is retained."""
        return read_page(self.connection, Query(run_id, 1, with_total=True))

    def count(self, table: str) -> int:
        """How many rows a table has."""
        (rows,) = self.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)

    def restart(self) -> None:
        """Forget what the writer keeps in memory."""
        self.state = JournalState(self.state.position)


def database_file(data_dir: Path) -> Path:
    """Where open_store keeps its database."""
    return data_dir / "collabd.sqlite3"
