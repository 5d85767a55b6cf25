"""What is done to a data directory while no daemon uses it, and what can be told of it at any time.

Law of this file: whatever writes has opened the directory as the daemon would (opening.open_database: lock, checks,
one connection); whatever looks is one short read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from collabd.errors import NotDone
from collabd.store.backup import Progress, refuse_absence
from collabd.store.journal import transaction
from collabd.store.opening import (
    DATABASE_NAME,
    WAL_LIMIT_BYTES,
    OpenDatabase,
    Synchronous,
    close_database,
    open_database,
    open_reader,
    refuse_other_schema,
    refused_in_words,
    size_of,
    wal_path,
)
from collabd.store.schema import STEPS

LIBRARY_VERSION: Final = sqlite3.sqlite_version
"""The SQLite that this Python runs on."""

_STEPS_PER_TURN: Final = 100_000
"""Instructions of SQLite's machine between two looks at how far it is; a few milliseconds."""


class Compacted(NamedTuple):
    """What a compaction did; sizes in bytes, of the database and its log."""

    bytes_before: int
    bytes_after: int
    trimmed_events: int
    forgotten_ids: int


class Contents(NamedTuple):
    """What lies in a data directory. Sizes in bytes, times in milliseconds since 1970 (None without events)."""

    database_bytes: int
    wal_bytes: int
    disk_free_bytes: int
    schema: int
    known_schema: int
    epoch: str
    opened_at: int
    runs: int
    events: int
    oldest_event_at: int | None
    newest_event_at: int | None


def schema_of(data_dir: Path) -> tuple[int, int]:
    """The schema that a database has, and the newest one known here. Raises NotDone, DatabaseUnusable."""
    path = data_dir / DATABASE_NAME
    refuse_absence(path)
    with refused_in_words(path), closing(open_reader(path)) as connection:
        refuse_other_schema(path, connection)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version, len(STEPS)


def migrate_directory(data_dir: Path, synchronous: Synchronous, now_ms: int) -> tuple[int, int]:
    """Bring a database to the newest schema; answers the one it had and the one it has.

    Raises NotDone, DatabaseUnusable (in use, or of a newer collabd); then nothing was changed.
    """
    found, known = schema_of(data_dir)
    if found < known:
        close_database(open_database(data_dir, synchronous=synchronous, now_ms=now_ms))
    return found, known


def contents(data_dir: Path) -> Contents:
    """What lies in a data directory, in use or not. Raises NotDone, DatabaseUnusable."""
    path = data_dir / DATABASE_NAME
    refuse_absence(path)
    with refused_in_words(path), closing(open_reader(path)) as connection:
        refuse_other_schema(path, connection)
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        meta = dict(connection.execute("SELECT name, CAST(value AS BLOB) FROM collabd_meta").fetchall())
        messages = "persisted_collaboration_messages"
        runs, events, oldest, newest = connection.execute(
            f"SELECT (SELECT count(*) FROM ai_run), (SELECT count(*) FROM {messages}),"
            f" (SELECT timestamp FROM {messages} ORDER BY position LIMIT 1),"
            f" (SELECT timestamp FROM {messages} ORDER BY position DESC LIMIT 1)"
        ).fetchone()
        disk = os.statvfs(data_dir)
    return Contents(
        database_bytes=size_of(path),
        wal_bytes=size_of(wal_path(path)),
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        schema=schema,
        known_schema=len(STEPS),
        epoch=meta[b"epoch"].decode(),
        opened_at=int(meta[b"opened_at"]),
        runs=runs,
        events=events,
        oldest_event_at=oldest,
        newest_event_at=newest,
    )


def compact_directory(
    data_dir: Path, *, synchronous: Synchronous, retention: int, window_ms: int, now_ms: int, progress: Progress
) -> Compacted:
    """Trim every run to its newest `retention` events, forget ids past their window, and give back what is free.

    Raises NotDone (no database, no room for the work), DatabaseUnusable (in use, damaged), StorageUnavailable.
    Interrupted, it leaves a database that is whole, trimmed or not.
    """
    path = data_dir / DATABASE_NAME
    refuse_absence(path)
    before = size_of(path) + size_of(wal_path(path))
    _refuse_little_room(data_dir, before)
    with refused_in_words(path), _opened(data_dir, synchronous, now_ms) as database:
        trimmed = _trim_runs(database, retention, progress)
        forgotten = _forget_ids(database.writer, now_ms - window_ms)
        _vacuum(database.writer, progress)
    return Compacted(before, size_of(path) + size_of(wal_path(path)), trimmed, forgotten)


@contextmanager
def _opened(data_dir: Path, synchronous: Synchronous, now_ms: int) -> Iterator[OpenDatabase]:
    database = open_database(data_dir, synchronous=synchronous, now_ms=now_ms)
    try:
        yield database
    finally:
        close_database(database)


def _refuse_little_room(data_dir: Path, size: int) -> None:
    """SQLite writes the compacted database twice before it gives the old one's room back."""
    disk = os.statvfs(data_dir)
    free = disk.f_bavail * disk.f_frsize
    if free < 2 * size:
        raise NotDone(
            f"{data_dir}: compacting needs up to {2 * size >> 20} MiB of free disk and there are {free >> 20} MiB; make"
            " room first"
        )


def _trim_runs(database: OpenDatabase, retention: int, progress: Progress) -> int:
    writer = database.writer
    cuts = writer.execute(
        "SELECT run_id, max(sequence_number) - ? FROM persisted_collaboration_messages GROUP BY run_id"
        " HAVING count(*) > ?",
        (retention, retention),
    ).fetchall()
    trimmed = 0
    for done, (run_id, last) in enumerate(cuts):
        progress("trimming runs", done, len(cuts))
        with transaction(writer):
            trimmed += writer.execute(
                "DELETE FROM persisted_collaboration_messages WHERE run_id = ? AND sequence_number <= ?", (run_id, last)
            ).rowcount
        if size_of(wal_path(database.path)) > WAL_LIMIT_BYTES:
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return trimmed


def _forget_ids(writer: sqlite3.Connection, expired_ms: int) -> int:
    with transaction(writer):
        return writer.execute(
            "DELETE FROM once_only_keys WHERE made_at < ? AND NOT EXISTS (SELECT 1 FROM"
            " persisted_collaboration_messages AS message WHERE message.run_id = once_only_keys.run_id"
            " AND message.sequence_number = once_only_keys.sequence_number)",
            (expired_ms,),
        ).rowcount


def _vacuum(writer: sqlite3.Connection, progress: Progress) -> None:
    # The daemon's connections keep temporary things in memory; here that would be the whole database.
    writer.execute("PRAGMA temp_store = FILE")
    writer.set_progress_handler(lambda: progress("compacting", 0, 0), _STEPS_PER_TURN)
    try:
        writer.execute("VACUUM")
    finally:
        writer.set_progress_handler(None, 0)
