"""Writing runs out as JSON Lines (transfer.py), from a database in use or not.

Law of this file: it only reads, and each run in one short transaction: a long one would keep the writer's log growing,
and several could see a run before and after a trim.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from collabd import __version__
from collabd.errors import DamagedEvent, NotDone
from collabd.store.backup import Progress, refuse_absence
from collabd.store.opening import DATABASE_NAME, open_reader, refuse_other_schema, refused_in_words
from collabd.store.rows import checksum
from collabd.store.transfer import FORMAT, EndLine, EventLine, HeadLine, RunLine, StateLine, data_fields, encode_line

_IN_MEMORY_BYTES: Final = 8 * 1024 * 1024
_BLOCK: Final = 1024 * 1024
_COLUMNS: Final = (
    "sequence_number, user_id, event_type, timestamp, is_critical, client_message_id, state_key, checksum, message_data"
)


class Exported(NamedTuple):
    """How much was written: runs, retained events, and kept states."""

    runs: int
    events: int
    states: int


def export_runs(
    data_dir: Path, wanted: Sequence[str], write: Callable[[bytes], Any], now_ms: int, progress: Progress
) -> Exported:
    """Write the wanted runs (none named: all) to `write`, in the order in which they were made.

    Raises NotDone (no database, no such run), DatabaseUnusable, DamagedEvent; what is written by then is no whole
    export, and an import refuses it.
    """
    blocks = _blocks(data_dir / DATABASE_NAME, wanted, now_ms, progress)
    while True:
        try:
            block = next(blocks)
        except StopIteration as end:
            done: Exported = end.value
            return done
        # Out here an error of whoever takes it is not mistaken for one of the database.
        write(block)


def _blocks(path: Path, wanted: Sequence[str], now_ms: int, progress: Progress) -> Generator[bytes, None, Exported]:
    """The export, piece by piece."""
    refuse_absence(path)
    with refused_in_words(path), closing(open_reader(path)) as connection:
        refuse_other_schema(path, connection)
        (epoch,) = connection.execute("SELECT value FROM collabd_meta WHERE name = 'epoch'").fetchone()
        runs = _choose(connection, path, wanted)
        yield encode_line(HeadLine(FORMAT, __version__, epoch.decode(), now_ms))
        done = Exported(0, 0, 0)
        for run_id in runs:
            progress("exporting runs", done.runs, len(runs))
            events, states = yield from _export_run(connection, run_id)
            done = Exported(done.runs + 1, done.events + events, done.states + states)
        yield encode_line(EndLine(done.runs, done.events))
        progress("exporting runs", len(runs), len(runs))
    return done


def _choose(connection: sqlite3.Connection, path: Path, wanted: Sequence[str]) -> list[str]:
    every = [run_id.decode() for (run_id,) in connection.execute("SELECT id FROM ai_run ORDER BY rowid")]
    missing = sorted(set(wanted) - set(every))
    if missing:
        raise NotDone(f"{path}: has no run {missing[0]}; nothing was exported")
    return [run_id for run_id in every if run_id in wanted] if wanted else every


def _export_run(connection: sqlite3.Connection, run_id: str) -> Generator[bytes, None, tuple[int, int]]:
    # By way of a file of its own: whoever reads our output may be slow, and the transaction must not last as long.
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as spool:
        connection.execute("BEGIN")
        try:
            counts = _read_run(connection, run_id, spool)
        finally:
            connection.execute("COMMIT")
        spool.seek(0)
        while block := spool.read(_BLOCK):
            yield block
    return counts


def _read_run(connection: sqlite3.Connection, run_id: str, spool: IO[bytes]) -> tuple[int, int]:
    (created_at,) = connection.execute("SELECT created_at FROM ai_run WHERE id = ?", (run_id,)).fetchone()
    oldest, newest = connection.execute(
        "SELECT ifnull(min(sequence_number), 1), ifnull(max(sequence_number), 0)"
        " FROM persisted_collaboration_messages WHERE run_id = ?",
        (run_id,),
    ).fetchone()
    spool.write(encode_line(RunLine(run_id, created_at, oldest, newest)))
    states = events = 0
    for state in _lines(connection, "kept_run_state", run_id, StateLine):
        spool.write(encode_line(state))
        states += 1
    for events, event in enumerate(_lines(connection, "persisted_collaboration_messages", run_id, EventLine), start=1):
        if event.sequence_number != oldest + events - 1:
            raise DamagedEvent(run_id, oldest + events - 1)
        spool.write(encode_line(event))
    return events, states


def _lines(
    connection: sqlite3.Connection, table: str, run_id: str, kind: type[EventLine]
) -> Iterator[EventLine | StateLine]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM {table} WHERE run_id = ? ORDER BY sequence_number", (run_id,))
    for number, user, event_type, timestamp, critical, message_id, state_key, check, data in rows:
        try:
            texts = (_text(user), _text(event_type), _text(message_id), _text(state_key))
            expected = checksum(run_id, number, texts[0], texts[1], timestamp, critical, texts[2], texts[3], data)
            raw, text = data_fields(data)
        except (UnicodeDecodeError, TypeError) as error:
            raise DamagedEvent(run_id, number) from error
        if check != expected:
            raise DamagedEvent(run_id, number)
        yield kind(run_id, number, texts[0], texts[1], timestamp, critical == 1, texts[2], texts[3], raw, text)


def _text(column: Any) -> Any:
    return None if column is None else column.decode()
