"""Taking runs in from JSON Lines (transfer.py): all that stand in a file, or none.

Law of this file: the file is read twice. The first time nothing is touched; the second time everything is one
transaction of the one connection that writes, on a directory that no daemon uses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from collabd.errors import NotDone, StorageFailed, StorageUnavailable
from collabd.store.backup import Progress
from collabd.store.journal import insert, transaction
from collabd.store.opening import (
    DATABASE_NAME,
    MARK_NAME,
    OpenDatabase,
    Synchronous,
    close_database,
    open_database,
    size_of,
    wal_path,
)
from collabd.store.rows import KEY_COLUMNS, MESSAGE_COLUMNS, content_hash, message_key, message_row, time_ordered_id
from collabd.store.transfer import LONGEST_LINE_BYTES, EventLine, Line, RunLine, StateLine, read_lines

_BATCH: Final = 256
_TELL_EVERY: Final = 1000
_STATE_COLUMNS: Final = (
    "run_id", "event_type", "state_key", "sequence_number", "user_id", "timestamp", "is_critical",
    "client_message_id", "checksum", "message_data",
)  # fmt: skip


class Imported(NamedTuple):
    """How much was taken in: runs, events, kept states; and the epoch under which clients see it."""

    runs: int
    events: int
    states: int
    epoch: str


def import_runs(
    file: BinaryIO, data_dir: Path, *, synchronous: Synchronous, now_ms: int, progress: Progress
) -> Imported:
    """Take in every run of a file that can be read twice; numbers stay as they are, the epoch is the directory's.

    Raises BrokenLine; NotDone for a run that the database has already; DatabaseUnusable. Then a database that was
    there holds what it held, and where there was none there is none.
    """
    runs = _check_file(file, progress)
    with _own_database(data_dir, synchronous, now_ms) as database:
        _refuse_known_runs(database, runs)
        imported = _Import(database, now_ms, progress, size_of_file(file))
        try:
            with transaction(database.writer):
                for _, line in read_lines(_lines(file)):
                    imported.take(line, file.tell())
                imported.flush()
        except (StorageUnavailable, StorageFailed) as error:
            raise NotDone(f"{database.path}: {error}; nothing was imported, mend that and import again") from error
        database.state.position = imported.position
        return Imported(imported.runs, imported.events, imported.states, database.epoch)


def size_of_file(file: BinaryIO) -> int:
    """The size of an open file in bytes, its position left as it is."""
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(position)
    return size


def _check_file(file: BinaryIO, progress: Progress) -> list[str]:
    """The runs of the file. Raises BrokenLine."""
    runs, size = [], size_of_file(file)
    for number, line in read_lines(_lines(file)):
        if isinstance(line, RunLine):
            runs.append(line.run_id)
        if number % _TELL_EVERY == 0:
            progress("checking", file.tell(), size)
    return runs


def _lines(file: BinaryIO) -> Iterator[bytes]:
    # Never more than one line too long in memory, whatever the file is.
    file.seek(0)
    return iter(lambda: file.readline(LONGEST_LINE_BYTES + 1), b"")


@contextmanager
def _own_database(data_dir: Path, synchronous: Synchronous, now_ms: int) -> Iterator[OpenDatabase]:
    """The opened database; one that was made for this is removed where it did not get what it was made for."""
    path = data_dir / DATABASE_NAME
    had_any = size_of(path) > 0
    database = open_database(data_dir, synchronous=synchronous, now_ms=now_ms)
    is_done = False
    try:
        yield database
        is_done = True
    finally:
        made = [] if had_any or is_done else [path, wal_path(path), Path(f"{path}-shm"), data_dir / MARK_NAME]
        if made:
            database.writer.close()
        # Under the lock still, which is given back at the very end.
        for name in made:
            with suppress(OSError):
                name.unlink(missing_ok=True)
        close_database(database, failed=bool(made))


def _refuse_known_runs(database: OpenDatabase, runs: list[str]) -> None:
    known = database.writer.execute(
        "SELECT id FROM ai_run WHERE id IN (SELECT value FROM json_each(?)) ORDER BY rowid", (json.dumps(runs),)
    ).fetchall()
    if known:
        more = f" and {len(known) - 1} more" if len(known) > 1 else ""
        raise NotDone(
            f"{database.path}: has run {known[0][0]}{more} already, and runs cannot be merged; nothing was imported."
            " Import into another --data-dir, or export single runs with --run"
        )


class _Import:
    """Gathers the rows of a file and inserts them in batches, within one transaction of the caller's."""

    def __init__(self, database: OpenDatabase, now_ms: int, progress: Progress, size: int) -> None:
        self._writer = database.writer
        self._now_ms = now_ms
        self._progress = progress
        self._size = size
        self.position = database.state.position
        self.runs = self.events = self.states = 0
        self._waiting: list[EventLine] = []

    def take(self, line: Line, offset: int) -> None:
        """One line of the file, of which `offset` bytes are read."""
        if isinstance(line, RunLine):
            self.flush()
            insert(self._writer, "ai_run", ("id", "created_at"), [(line.run_id, line.created_at)])
            self.runs += 1
        elif isinstance(line, StateLine):
            self._keep_state(line)
        elif isinstance(line, EventLine):
            self._waiting.append(line)
            if len(self._waiting) == _BATCH:
                self.flush()
                self._progress("importing", offset, self._size)

    def flush(self) -> None:
        """Insert what waits."""
        random = os.urandom(8 * len(self._waiting))
        rows, keys = [], []
        for index, line in enumerate(self._waiting):
            event = line.event()
            row_id = time_ordered_id(self._now_ms, self.position, random[8 * index : 8 * index + 8])
            self.position += 1
            rows.append(message_row(event, position=self.position, sequence_number=line.sequence_number, row_id=row_id))
            if (key := message_key(event)) is not None:
                keys.append((key, line.run_id, line.sequence_number, content_hash(event), self._now_ms))
        insert(self._writer, "once_only_keys", KEY_COLUMNS, keys)
        insert(self._writer, "persisted_collaboration_messages", MESSAGE_COLUMNS, rows)
        self.events += len(rows)
        self._waiting.clear()

    def _keep_state(self, line: StateLine) -> None:
        row = message_row(line.event(), position=0, sequence_number=line.sequence_number, row_id="")
        values = dict(zip(MESSAGE_COLUMNS, row, strict=True))
        insert(self._writer, "kept_run_state", _STATE_COLUMNS, [tuple(values[name] for name in _STATE_COLUMNS)])
        self.states += 1
