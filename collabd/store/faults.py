"""What an error of SQLite means to those who wait for a commit or a read.

Law of this file: error codes only; https://www.sqlite.org/rescode.html is the source of each meaning.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from collabd.errors import CollabdError, StorageFailed, StorageUnavailable

# Nothing was written, and later it may work. SQLITE_CANTOPEN is what running out of file descriptors looks like.
_PASSING: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_BUSY: "the database is locked by another program",
    sqlite3.SQLITE_LOCKED: "the database is locked by another program",
    sqlite3.SQLITE_PROTOCOL: "the database is locked by another program",
    sqlite3.SQLITE_READONLY: "the database is read-only",
    sqlite3.SQLITE_CANTOPEN: "a database file cannot be opened",
    sqlite3.SQLITE_NOMEM: "the memory is full",
}
# The -shm file holds no event, only an index that is made anew when it is lost: failing to grow it is how a full disk
# shows before the log itself is touched.
_PASSING_IO: Final = {
    sqlite3.SQLITE_IOERR_SHMSIZE: "the disk is full",
    sqlite3.SQLITE_IOERR_NOMEM: "the memory is full",
}
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def passing_fault(error: sqlite3.Error) -> str | None:
    """What stands in the way for now, in words, or None for an error that does not pass."""
    code = getattr(error, "sqlite_errorcode", 0)
    return _PASSING_IO.get(code) or _PASSING.get(code & 0xFF)


def commit_error(error: sqlite3.Error) -> CollabdError:
    """What a failed commit raises: StorageUnavailable where it may work later, else StorageFailed."""
    reason = passing_fault(error)
    if reason is not None:
        return StorageUnavailable(f"{reason}: {error}")
    return StorageFailed(f"the database failed ({name_of(error)}): {error}")


def read_error(error: Exception) -> StorageUnavailable:
    """What a failed read raises. A read breaks no promise, so it never stops the store."""
    return StorageUnavailable(f"the database cannot be read ({name_of(error)}): {error}")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error at a read says that what the file holds is not what collabd wrote.

    SQLITE_ERROR is among them: a row whose type bits flipped makes the JSON functions fail.
    """
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def name_of(error: Exception) -> str:
    """SQLite's own name of an error, such as SQLITE_IOERR_FSYNC."""
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
