"""Opening the data directory, and refusing one that cannot be used in one clear line.

    collabd.lock      held while a daemon runs; holds its process id
    collabd.sqlite3   the log, with its -wal and -shm beside it
    collabd.mark      what marks.py tells a loss by

Law of this file: nothing is changed in a directory that is refused, but for the lock file, an empty database file and
who may read what is there.
Never open a database file but through SQLite while a connection lives: closing it would drop SQLite's locks
(https://www.sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from collabd.errors import DatabaseUnusable
from collabd.store.faults import is_damage, name_of, passing_fault
from collabd.store.journal import JournalState, load_state
from collabd.store.marks import Found, Mark, MarkFile, loss
from collabd.store.schema import APPLICATION_ID, STEPS, migrate

logger = logging.getLogger("collabd.store")

DATABASE_NAME: Final = "collabd.sqlite3"
LOCK_NAME: Final = "collabd.lock"
MARK_NAME: Final = "collabd.mark"

Synchronous = Literal["full", "normal"]

_BUSY_TIMEOUT_MS: Final = 1000
_PAGE_BYTES: Final = 4096
_WAL_HEADER_BYTES: Final = 32
"""With no more than that, a write-ahead log holds nothing (https://www.sqlite.org/fileformat2.html, 4.1)."""

_MAGIC: Final = b"SQLite format 3\0"

WAL_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""Where a checkpoint is due, and what the write-ahead log is cut back to when it begins anew after one.

Both being one figure, a file longer than that always means that a checkpoint is due.
"""

_WRITER_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
    # SQLite hides a failed automatic checkpoint, and after a failed fsync the next one reports success
    # (https://www.sqlite.org/src, sqlite3WalDefaultHook): checkpoints are called by name, where errors show.
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",
    # Some systems' SQLite overwrites what is deleted at the price of writing it once more; FAST does where it is free.
    "PRAGMA secure_delete = FAST",
)
_READER_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}",
    "PRAGMA query_only = ON",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA temp_store = MEMORY",
)


@dataclass
class OpenDatabase:
    """A data directory in use: the lock, the one connection that writes, the mark, and where the log ends."""

    path: Path
    lock: int
    writer: sqlite3.Connection
    mark: MarkFile
    epoch: str
    state: JournalState

    def write_mark(self, *, is_open: bool = True, durable: bool = False) -> None:
        """Say in the mark file how far the log is committed. Raises OSError."""
        self.mark.write(Mark(self.epoch, self.state.position, is_open), durable=durable)


def wal_path(database: Path) -> Path:
    """The write-ahead log beside a database file."""
    return database.with_name(database.name + "-wal")


def open_database(data_dir: Path, *, synchronous: Synchronous, now_ms: int) -> OpenDatabase:
    """Lock, check, migrate and mark a data directory, made (mode 0700) if it is not there.

    Raises DatabaseUnusable; then nothing is left locked or open.
    """
    path = data_dir / DATABASE_NAME
    with ExitStack() as on_error:
        with refused_in_words(data_dir):
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with refused_in_words(data_dir / LOCK_NAME):
            lock = lock_file(data_dir / LOCK_NAME)
            on_error.callback(os.close, lock)
        with refused_in_words(path):
            _close_to_strangers(path)
        with refused_in_words(data_dir / MARK_NAME):
            mark = MarkFile(data_dir / MARK_NAME)
            on_error.callback(mark.close)
            marked = mark.read()
        with refused_in_words(path):
            has_wal = size_of(wal_path(path)) > _WAL_HEADER_BYTES
            if marked is None:
                _undo_a_torn_creation(path)
            was_closed = marked is not None and not marked.is_open and not has_wal
            _refuse_what_is_not_ours(path, has_wal, was_closed=was_closed)
            writer = _connect_writer(path, synchronous)
            # Not just closed: a log that vanishes at a start that failed would look like a loss to the next.
            on_error.callback(_close_leaving_log, path, writer)
            migrate(writer)
            state = load_state(writer)
            epoch = _settle_epoch(path, writer, marked, Found(_epoch(writer), state.position, has_wal), now_ms)
            database = OpenDatabase(path, lock, writer, mark, epoch, state)
            # The names of new files must be as durable as the mark that speaks of them.
            sync_directory(data_dir)
            database.write_mark(durable=True)
        on_error.pop_all()
    return database


def close_database(database: OpenDatabase, *, failed: bool = False) -> None:
    """Move the whole log into the database, and say in the mark that it is closed.

    A database that `failed` is left as after kill -9, for the next start to recover: SQLite, which would move the log
    at the close of the last connection, has stopped telling the truth. What goes wrong here is logged.
    """
    try:
        if failed:
            _close_leaving_log(database.path, database.writer)
        else:
            # Before the log goes: an "open" mark without one, as a kill in between would leave it, speaks of a loss.
            database.write_mark(is_open=False, durable=True)
            _, frames, moved = database.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            # A reader of another program may keep the log from being deleted, not from having nothing to add.
            if frames != moved:
                database.write_mark(durable=True)
            database.writer.close()
    except (sqlite3.Error, OSError) as error:
        logger.warning("%s: not closed cleanly: %s", database.path, error)
    finally:
        with suppress(sqlite3.Error):
            database.writer.close()
        database.mark.close()
        os.close(database.lock)


def _close_leaving_log(path: Path, writer: sqlite3.Connection) -> None:
    with ExitStack() as stack:
        with suppress(sqlite3.Error):
            # A connection that has read holds a lock that makes it count; one that may only read moves nothing.
            other = stack.enter_context(closing(open_reader(path)))
            other.execute("PRAGMA user_version").fetchone()
        writer.close()


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that never writes, never checkpoints, and gives text as the bytes it is. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = bytes
    for pragma in _READER_PRAGMAS:
        connection.execute(pragma)
    return connection


def holder_of(data_dir: Path) -> int | None:
    """The process number of the daemon that has a data directory open; None where there is none. Raises OSError."""
    try:
        lock = os.open(data_dir / LOCK_NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(lock, 32, 0) or b"0") or None
    finally:
        os.close(lock)
    return None


def lock_file(path: Path) -> int:
    """Hold the lock of a data directory; answers the descriptor to close. Raises DatabaseUnusable, OSError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise DatabaseUnusable(
            f"{path.parent}: in use by another collabd (process {holder}); stop it, or name another data directory",
            passing=True,
        ) from None
    except OSError:
        os.close(lock)
        raise
    return lock


def _close_to_strangers(path: Path) -> None:
    """Take from everybody on the machine what a copy or a backup may have given: what people said in their runs."""
    for file in (path, wal_path(path), path.with_name(path.name + "-shm")):
        # Another user's file is refused for better reasons when it is opened.
        with suppress(FileNotFoundError, PermissionError):
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & stat.S_IRWXO:
                file.chmod(mode & ~stat.S_IRWXO)
                logger.warning("%s was open to everybody on this machine (mode %04o) and is now closed", file, mode)


def _undo_a_torn_creation(path: Path) -> None:
    """Let SQLite undo its first write where a power cut came in the middle of it.

    Making a database is the only time that there is a rollback journal; every later commit goes to the write-ahead log.
    Read-only, as everything is looked at from here on, SQLite could not undo it.
    """
    journal = path.with_name(path.name + "-journal")
    if journal.exists() and size_of(path) <= _PAGE_BYTES:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()


def _refuse_what_is_not_ours(path: Path, has_wal: bool, *, was_closed: bool) -> None:
    """Look at the database file without writing to it or its log; an absent one is made, empty."""
    if not path.exists() or size_of(path) == 0:
        if has_wal:
            # SQLite would delete the log of an empty database.
            raise DatabaseUnusable(
                f"{path}: missing or empty, but {wal_path(path).name} beside it holds events; restore the database"
                " file, or move that log away to begin anew"
            )
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        return
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise DatabaseUnusable(f"{path}: no SQLite database; move it away, or name another data directory")
    with closing(open_reader(path)) as connection:
        refuse_other_schema(path, connection)
        # Reads the whole file, so only where something may have happened to it: a copy, or no clean stop.
        if not was_closed:
            _refuse_damage(path, connection)


def refuse_other_schema(path: Path, connection: sqlite3.Connection) -> None:
    """Raise DatabaseUnusable for another program's database, and for one of a newer collabd."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise DatabaseUnusable(f"{path}: the database of another program; name another data directory")
    if version > len(STEPS):
        raise DatabaseUnusable(
            f"{path}: made by a newer collabd (schema {version}, this one knows up to {len(STEPS)}); run that version,"
            " or restore a backup from before it"
        )


def _refuse_damage(path: Path, connection: sqlite3.Connection) -> None:
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != b"ok":
        in_one_line = " ".join(finding.decode(errors="replace").split())
        raise DatabaseUnusable(f"{path}: damaged ({in_one_line}); restore a backup")


def _connect_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _WRITER_PRAGMAS:
            writer.execute(pragma)
        writer.execute(f"PRAGMA synchronous = {synchronous.upper()}")
        (mode,) = writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise DatabaseUnusable(
                f"{path}: on a file system where SQLite cannot keep a write-ahead log; use a local disk"
            )
    except BaseException:
        writer.close()
        raise
    return writer


def _epoch(writer: sqlite3.Connection) -> str | None:
    row = writer.execute("SELECT value FROM collabd_meta WHERE name = 'epoch'").fetchone()
    return None if row is None else str(row[0])


def _settle_epoch(path: Path, writer: sqlite3.Connection, marked: Mark | None, found: Found, now_ms: int) -> str:
    """The name of the history; a new one for a new database and for one that lost something.

    Always writes, and something new each time ("opening"), since SQLite leaves out what changes nothing: a directory
    that cannot be written is found here, and from here on there is a write-ahead log.
    """
    lost = loss(marked, found)
    epoch = found.epoch if found.epoch is not None and lost is None else secrets.token_hex(8)
    writer.execute("BEGIN IMMEDIATE")
    writer.executemany(
        "INSERT INTO collabd_meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [("epoch", epoch), ("opened_at", str(now_ms)), ("opening", secrets.token_hex(8))],
    )
    writer.execute("COMMIT")
    if lost is not None:
        logger.error("%s: %s; a new epoch (%s) begins, and every client starts over", path, lost, epoch)
    return epoch


def sync_directory(path: Path) -> None:
    """Make the names in a directory as durable as its files. Raises OSError."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def size_of(path: Path) -> int:
    """The size of a file in bytes, 0 when it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


_IN_WORDS: Final = {
    errno.EACCES: "this user may not write there; give it the right, or name another data directory",
    errno.EPERM: "this user may not write there; give it the right, or name another data directory",
    errno.EROFS: "on a read-only file system; mount it writable, or name another data directory",
    errno.ENOSPC: "no space left on the disk; make room and start again",
    errno.EDQUOT: "no space left in the disk quota; make room and start again",
    errno.EEXIST: "not a directory; name another data directory",
    errno.ENOTDIR: "not a directory; name another data directory",
    errno.EISDIR: "a directory where a file should be; move it away, or name another data directory",
}
_FOR_THE_OPERATOR: Final = {*_IN_WORDS} - {errno.ENOSPC, errno.EDQUOT}
"""What another start does not mend."""
_SQLITE_IN_WORDS: Final = {
    "the disk is full": "no space left on the disk; make room and start again",
    "the database is locked by another program": "locked by another program; close what has it open and start again",
    "the database is read-only": "read-only; make it writable for this user, or name another data directory",
    "a database file cannot be opened": "cannot be opened; give this user the right to read and write it",
}


@contextmanager
def refused_in_words(path: Path) -> Iterator[None]:
    """Tell any error of the system or of SQLite as DatabaseUnusable: which file, why, what to do."""
    try:
        yield
    except OSError as error:
        reason = _IN_WORDS.get(error.errno or 0, f"{error.strerror}; name another data directory")
        raise DatabaseUnusable(f"{path}: {reason}", passing=error.errno not in _FOR_THE_OPERATOR) from error
    except sqlite3.Error as error:
        if is_damage(error):
            raise DatabaseUnusable(f"{path}: damaged ({error}); restore a backup") from error
        fault = passing_fault(error) or ""
        reason = _SQLITE_IN_WORDS.get(fault, f"{error} ({name_of(error)})")
        passing = fault not in ("the database is read-only", "a database file cannot be opened")
        raise DatabaseUnusable(f"{path}: {reason}", passing=passing) from error
    except UnicodeDecodeError as error:
        # A damaged schema shows in SQLite's own error message, which then is no text.
        raise DatabaseUnusable(f"{path}: damaged; restore a backup") from error
