"""Copies of a database: taken while a daemon writes, checked before they count, brought back as a history of its own.

Law of this file: the source is only read, by one connection that neither writes nor checkpoints (SQLite 3.7.0 to 3.51.2
can corrupt a write-ahead log when two do). A copy gets its name only when it is whole, checked and on the disk, and
never in the place of another file.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from collabd.errors import DamagedEvent, DatabaseUnusable, NotDone, StorageUnavailable
from collabd.store.faults import passing_fault
from collabd.store.marks import Mark, MarkFile
from collabd.store.opening import (
    DATABASE_NAME,
    LOCK_NAME,
    MARK_NAME,
    lock_file,
    open_reader,
    refused_in_words,
    size_of,
    sync_directory,
    wal_path,
)
from collabd.store.reading import UNREADABLE, Query, read_page, read_runs
from collabd.store.schema import APPLICATION_ID, STEPS, migrate

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and how much it is in all (0: not known)."""

LONGEST_WAL_BYTES: Final = 48 * 1024 * 1024
"""A copy keeps the writer from beginning its log anew; past this it gives up, so that the log stays below 64 MiB."""

_PAGES_PER_STEP: Final = 512
_PAGE_BYTES: Final = 4 * 1024 * 1024
_MAGIC: Final = b"SQLite format 3\0"
_WHERE: Final = "name its directory with --data-dir or --config"


class Summary(NamedTuple):
    """What a checked database holds: its history's name, its schema, runs and retained events, and its size (bytes)."""

    epoch: str
    schema: int
    runs: int
    events: int
    database_bytes: int


def back_up(data_dir: Path, target: Path, progress: Progress) -> Summary:
    """Copy the database of a data directory, in use or not, into a new file of mode 0600, and check the copy.

    The copy is one moment of the log. Raises NotDone (there is such a file, nothing to copy, the copy failed its
    check, the log grew too long meanwhile) and DatabaseUnusable; then there is no target file.
    """
    source_path = data_dir / DATABASE_NAME
    if target.exists() or target.is_symlink():
        raise NotDone(f"{target}: exists already and was left as it is; name another file")
    refuse_absence(source_path)
    with refused_in_words(source_path), closing(open_reader(source_path)) as source, _new_file(target) as partial:
        _refuse_strangers(source, source_path, f"no database of collabd; {_WHERE}")
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            _copy(source, copy, progress, wal_path(source_path))
            # One file that carries itself: without this every program that opens it would make a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
        return check(partial, progress)


def restore(backup: Path, data_dir: Path, now_ms: int, progress: Progress) -> Summary:
    """Make a data directory of a backup, under a new epoch; made (mode 0700) if it is not there.

    Raises NotDone for a directory in which a database lies, and for a file that is no sound backup; DatabaseUnusable
    for a directory in use or one that cannot be written. Then nothing is there that was not there before, but the
    directory and its lock file.
    """
    with refused_in_words(backup):
        _refuse_what_is_no_backup(backup)
    path = data_dir / DATABASE_NAME
    with ExitStack() as stack:
        with refused_in_words(data_dir):
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with refused_in_words(data_dir / LOCK_NAME):
            stack.callback(os.close, lock_file(data_dir / LOCK_NAME))
        if size_of(path) or size_of(wal_path(path)):
            raise NotDone(
                f"{data_dir}: holds a database already, which was left as it is; move it away, or give another"
                " directory"
            )
        with refused_in_words(path):
            for leftover in (path, wal_path(path)):
                leftover.unlink(missing_ok=True)
            summary, position = _bring_back(backup, path, now_ms, progress)
            # Before the mark: a start without a mark begins a new epoch, one with another's mark would say it lost.
            _write_mark(data_dir / MARK_NAME, Mark(summary.epoch, position, is_open=False))
            sync_directory(data_dir)
    return summary


def _bring_back(backup: Path, path: Path, now_ms: int, progress: Progress) -> tuple[Summary, int]:
    with _new_file(path) as partial:
        with (
            closing(_open_backup(backup)) as source,
            closing(sqlite3.connect(partial, isolation_level=None)) as copy,
        ):
            _copy(source, copy, progress, wal_path(backup))
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
        summary = check(partial, progress)
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            migrate(copy)
            epoch = secrets.token_hex(8)
            copy.execute("BEGIN IMMEDIATE")
            copy.executemany(
                "INSERT INTO collabd_meta (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [("epoch", epoch), ("opened_at", str(now_ms))],
            )
            copy.execute("COMMIT")
            (position,) = copy.execute("SELECT max(position) FROM persisted_collaboration_messages").fetchone()
    return summary._replace(epoch=epoch, schema=len(STEPS)), position or 0


def _write_mark(path: Path, mark: Mark) -> None:
    file = MarkFile(path)
    try:
        file.write(mark, durable=True)
    finally:
        file.close()


def check(path: Path, progress: Progress) -> Summary:
    """Look at everything in a database file that nobody has open: SQLite's own check, and every event's checksum.

    Raises NotDone, which names what is wrong.
    """
    try:
        with closing(_open_backup(path)) as connection:
            progress("checking the file", 0, 0)
            (finding,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if finding != b"ok":
                raise NotDone(f"the copy failed its check: {' '.join(finding.decode(errors='replace').split())}")
            return _check_events(connection, path, progress)
    except (*UNREADABLE, DamagedEvent, StorageUnavailable) as error:
        raise NotDone(f"the copy failed its check: {error}") from error


def _check_events(connection: sqlite3.Connection, path: Path, progress: Progress) -> Summary:
    (total,) = connection.execute("SELECT count(*) FROM persisted_collaboration_messages").fetchone()
    runs = read_runs(connection, -1)
    seen = 0
    for run in runs:
        first, is_complete = run.oldest, False
        while not is_complete:
            page = read_page(connection, Query(run.run_id, first, max_bytes=_PAGE_BYTES))
            is_complete = page.complete or not page.events
            first += len(page.events)
            seen += len(page.events)
            progress("checking events", seen, total)
    (epoch,) = connection.execute("SELECT value FROM collabd_meta WHERE name = 'epoch'").fetchone() or (b"",)
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    return Summary(epoch.decode(), schema, len(runs), total, size_of(path))


def _copy(source: sqlite3.Connection, copy: sqlite3.Connection, progress: Progress, log: Path) -> None:
    copy.execute("PRAGMA synchronous = OFF")  # the whole file is made durable at once, at the end
    # Read first: a transaction keeps the copy at one moment, where else it would begin anew with every commit.
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def tell(_: int, remaining: int, total: int) -> None:
        if size_of(log) > LONGEST_WAL_BYTES:
            raise NotDone(
                f"{log}: grew past {LONGEST_WAL_BYTES >> 20} MiB while the copy was taken; try at a quieter time, or"
                " onto a faster disk"
            )
        progress("copying", total - remaining, total)

    source.backup(copy, pages=_PAGES_PER_STEP, progress=tell)
    source.execute("COMMIT")


@contextmanager
def _new_file(target: Path) -> Iterator[Path]:
    """An empty file beside the target that becomes it, durably, at the end of the block, or is gone."""
    with _target_in_words(target):
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    os.close(handle)
    partial = Path(name)
    try:
        with _full_disk_in_words(target):
            yield partial
        with _target_in_words(target):
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            _name_it(partial, target)
            sync_directory(target.parent)
    finally:
        for file_name in (partial, wal_path(partial), Path(f"{partial}-shm"), Path(f"{partial}-journal")):
            file_name.unlink(missing_ok=True)


def _name_it(partial: Path, target: Path) -> None:
    """Give the file its name, unless somebody else has it meanwhile."""
    try:
        target.hardlink_to(partial)
    except FileExistsError:
        raise NotDone(f"{target}: exists already and was left as it is; name another file") from None
    except OSError:  # a file system without hard links
        if target.exists():
            raise NotDone(f"{target}: exists already and was left as it is; name another file") from None
        partial.rename(target)


@contextmanager
def _target_in_words(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotDone(f"{target}: cannot be written: {error.strerror}; name another file") from error


@contextmanager
def _full_disk_in_words(target: Path) -> Iterator[None]:
    """Of the files at hand only the new one grows."""
    try:
        yield
    except sqlite3.Error as error:
        if passing_fault(error) != "the disk is full":
            raise
        raise NotDone(f"{target}: no space left on the disk; make room, or name another file") from error


def refuse_absence(path: Path) -> None:
    """Raise NotDone where no database lies, DatabaseUnusable where that cannot be seen."""
    with refused_in_words(path):
        if size_of(path) == 0:
            raise NotDone(f"{path}: no database there; {_WHERE}")


def _refuse_what_is_no_backup(path: Path) -> None:
    if not path.is_file():
        raise NotDone(f"{path}: no such file; name one that `collabd backup` made")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise NotDone(f"{path}: no SQLite database, so no backup of collabd; nothing was restored")
    try:
        with closing(_open_backup(path)) as connection:
            _refuse_strangers(
                connection, path, "another program's database, no backup of collabd; nothing was restored"
            )
    except sqlite3.Error as error:
        if passing_fault(error) is not None:
            raise
        raise NotDone(f"{path}: damaged ({error}); nothing was restored") from error


def _refuse_strangers(connection: sqlite3.Connection, path: Path, words: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version == 0:
        raise NotDone(f"{path}: {words}")
    if version > len(STEPS):
        raise DatabaseUnusable(
            f"{path}: made by a newer collabd (schema {version}, this one knows up to {len(STEPS)}); use that version"
        )


def _open_backup(path: Path) -> sqlite3.Connection:
    """A reader; of a file with no log beside it one that makes none either, so that it may lie on a read-only disk."""
    if size_of(wal_path(path)):
        return open_reader(path)
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    connection.text_factory = bytes
    with suppress(sqlite3.Error):  # said again, and in better words, by whoever reads
        connection.execute("PRAGMA query_only = ON")
    return connection
