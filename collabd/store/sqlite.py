"""The store on SQLite, for Trio: who may use which connection when.

Law of this file: threads, limits and the order of opening and closing; SQL stands in journal.py and reading.py. One
connection does all writing and all checkpointing (SQLite 3.7.0 to 3.51.2 can corrupt a write-ahead log when two do).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from collabd.auth import Revocation
from collabd.errors import StorageFailed, StorageUnavailable
from collabd.store import reading
from collabd.store.faults import name_of, passing_fault, read_error
from collabd.store.interface import AppendResult, DiskUsage, EventPage, NewEvent, RunHead, Span, StoredEvent
from collabd.store.journal import Limits, append, keep_revocation
from collabd.store.opening import (
    WAL_LIMIT_BYTES,
    OpenDatabase,
    Synchronous,
    close_database,
    open_database,
    open_reader,
    size_of,
    wal_path,
)

logger = logging.getLogger("collabd.store")

_READERS: Final = 2

T = TypeVar("T")


def wall_clock_ms() -> int:
    """Now, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_store(
    data_dir: Path,
    *,
    synchronous: Synchronous = "full",
    retention: int = 1000,
    dedupe_window_s: float = 86400,
    clock_ms: Callable[[], int] = wall_clock_ms,
) -> AsyncIterator[SqliteStore]:
    """Open the database in a data directory for the length of a block; made if it is not there.

    `retention` (at least 1) events of each run are kept, the newest. `dedupe_window_s` (seconds) is how long a
    clientMessageId is remembered at least. `clock_ms` gives milliseconds since 1970.

    Raises DatabaseUnusable. The store has a task of its own, so an error that leaves the block comes in a group.
    """
    opening = partial(open_database, Path(data_dir), synchronous=synchronous, now_ms=clock_ms())
    database = await trio.to_thread.run_sync(opening)
    store = SqliteStore(database, Limits(max(1, retention), int(dedupe_window_s * 1000)), clock_ms)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store._keep_wal_short)
            try:
                yield store
            finally:
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(store.close)


class SqliteStore:
    """The Store contract (interface.py) over one open database; made by open_store."""

    def __init__(self, database: OpenDatabase, limits: Limits, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._limits = limits
        self._clock_ms = clock_ms
        self._failure: str | None = None
        self._wal_is_long = trio.Event()
        self._one_writer = trio.CapacityLimiter(1)
        self._some_readers = trio.CapacityLimiter(_READERS)
        self._idle_readers: list[sqlite3.Connection] = []
        self._files = (str(database.path), str(wal_path(database.path)))
        self._inodes = (os.stat(self._files[0]).st_ino, os.stat(self._files[1]).st_ino)

    @property
    def epoch(self) -> str:
        """Store.epoch."""
        return self._database.epoch

    def disk_usage(self) -> DiskUsage:
        """Store.disk_usage."""
        database, wal = (size_of(Path(file)) for file in self._files)
        free = 0
        with suppress(OSError):
            disk = os.statvfs(self._files[0])
            free = disk.f_bavail * disk.f_frsize
        return DiskUsage(database, wal, free)

    async def span(self) -> Span:
        """Store.span."""
        return await self._read(reading.read_span)

    async def probe(self) -> None:
        """Store.probe."""
        await trio.to_thread.run_sync(self._probe, limiter=self._one_writer)

    async def append(self, events: Sequence[NewEvent]) -> AppendResult:
        """Store.append."""
        try:
            result = await trio.to_thread.run_sync(self._append, events, limiter=self._one_writer)
        except StorageUnavailable:
            # Where the disk is full, the log may still fit into free pages of the database, and begin anew.
            self._wal_is_long.set()
            raise
        self._look_at_files()
        return result

    async def head(self, run_id: str) -> RunHead | None:
        """Store.head."""
        return await self._read(partial(reading.read_head, run_id=run_id))

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
        """Store.read."""
        query = reading.Query(run_id, first, last, limit, max_bytes, critical_only, event_type, count)
        return await self._read(partial(reading.read_page, query=query))

    async def read_newest(self, run_id: str, *, max_bytes: int) -> list[StoredEvent]:
        """Store.read_newest."""
        return await self._read(partial(reading.read_newest, run_id=run_id, max_bytes=max_bytes))

    async def critical_flags(self, run_id: str) -> bytes:
        """Store.critical_flags."""
        return await self._read(partial(reading.read_critical_flags, run_id=run_id))

    async def run_state(self, run_id: str) -> list[StoredEvent]:
        """Store.run_state."""
        return await self._read(partial(reading.read_run_state, run_id=run_id))

    async def runs(self, *, limit: int) -> list[RunHead]:
        """Store.runs."""
        return await self._read(partial(reading.read_runs, limit=limit))

    async def run_count(self) -> int:
        """Store.run_count."""
        return await self._read(reading.read_run_count)

    async def revoke(self, revocation: Revocation) -> None:
        """Store.revoke."""
        await trio.to_thread.run_sync(self._revoke, revocation, limiter=self._one_writer)

    async def revocations(self) -> list[Revocation]:
        """Store.revocations."""
        return await self._read(reading.read_revocations)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await trio.to_thread.run_sync(self._with_reader, work, limiter=self._some_readers)

    def _with_reader(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._reader()
            result = work(connection)
        except reading.UNREADABLE as error:
            raise read_error(error) from error
        self._idle_readers.append(connection)
        return result

    def _reader(self) -> sqlite3.Connection:
        # Not `if idle: pop`: another thread may take the last one in between.
        with suppress(IndexError):
            return self._idle_readers.pop()
        return open_reader(self._database.path)

    async def _keep_wal_short(self) -> None:
        """Move the write-ahead log into the database whenever it has grown long, between commits; never returns."""
        while True:
            await self._wal_is_long.wait()
            self._wal_is_long = trio.Event()
            await trio.to_thread.run_sync(self._checkpoint, limiter=self._one_writer)

    def _checkpoint(self) -> None:
        if self._failure is not None:
            return
        try:
            self._database.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            # What passes is tried again after the next commit, and told to whoever waits for one.
            if passing_fault(error) is None:
                self._fail(f"the write-ahead log cannot be moved into the database ({name_of(error)}): {error}")

    def _append(self, events: Sequence[NewEvent]) -> AppendResult:
        if self._failure is not None:
            raise StorageFailed(self._failure)
        database = self._database
        try:
            result = append(database.writer, database.state, events, self._limits, self._clock_ms())
            database.write_mark()
        except StorageFailed as error:
            raise self._fail(str(error)) from error
        except OSError as error:
            raise self._fail(f"the mark of the last commit cannot be kept: {error}") from error
        return result

    def _probe(self) -> None:
        if self._failure is not None:
            raise StorageFailed(self._failure)
        # An error is an answer too: what the disk refuses is told to whoever waits for a commit.
        with suppress(sqlite3.Error):
            self._database.writer.execute("SELECT value FROM collabd_meta WHERE name = 'epoch'").fetchone()

    def _revoke(self, revocation: Revocation) -> None:
        if self._failure is not None:
            raise StorageFailed(self._failure)
        try:
            keep_revocation(self._database.writer, revocation)
        except StorageFailed as error:
            raise self._fail(str(error)) from error

    def _fail(self, reason: str) -> StorageFailed:
        """Believe no commit from here on: SQLite reports success for the one after a failed fsync."""
        if self._failure is None:
            self._failure = reason
            logger.critical("%s: %s; nothing more is acknowledged", self._database.path, reason)
        return StorageFailed(self._failure)

    def _look_at_files(self) -> None:
        """Ask for a checkpoint where one is due; fail where commits go to files that no start will find again."""
        try:
            database, wal = os.stat(self._files[0]), os.stat(self._files[1])
            if (database.st_ino, wal.st_ino) != self._inodes:
                raise FileNotFoundError
        except OSError as error:
            raise self._fail("the database or its write-ahead log was moved or removed while in use") from error
        if wal.st_size > WAL_LIMIT_BYTES:
            self._wal_is_long.set()

    def close(self) -> None:
        """Close the readers, then the writer; for open_store, in a worker thread, when nothing else is going on."""
        for connection in self._idle_readers:
            with suppress(sqlite3.Error):
                connection.close()
        close_database(self._database, failed=self._failure is not None)
