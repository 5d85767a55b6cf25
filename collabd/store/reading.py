"""Everything that is read from the log.

Law of this file: plain functions on a connection that only reads, made by opening.open_reader; no Trio. Each is one
statement, so it sees one moment of the log, and its result is one row of JSON: a row each would give up the
interpreter lock a thousand times for a thousand events.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from collabd.auth import Revocation
from collabd.errors import DamagedEvent
from collabd.store.faults import is_damage, read_error
from collabd.store.interface import EventPage, RunHead, Span, StoredEvent
from collabd.store.rows import EVENT_AS_JSON, decode_events

UNREADABLE: Final = (sqlite3.Error, msgspec.DecodeError, UnicodeDecodeError)
"""What reading a damaged file may raise; UnicodeDecodeError also where SQLite's own message quotes a damaged schema."""

_MESSAGES = "persisted_collaboration_messages"
_LAST_EVENT_AT = f"(SELECT timestamp FROM {_MESSAGES} WHERE run_id = ai_run.id ORDER BY sequence_number DESC LIMIT 1)"
_RUN_AS_JSON = (
    "json_array(id, created_at,"
    f" ifnull((SELECT max(sequence_number) FROM {_MESSAGES} WHERE run_id = ai_run.id), 0),"
    f" ifnull((SELECT min(sequence_number) FROM {_MESSAGES} WHERE run_id = ai_run.id), 1),"
    f" {_LAST_EVENT_AT})"
)


class Query(NamedTuple):
    """Which events Store.read is to give; the fields are its arguments (`with_total`: count)."""

    run_id: str
    first: int
    last: int | None = None
    limit: int | None = None
    max_bytes: int | None = None
    critical_only: bool = False
    event_type: str | None = None
    with_total: bool = False

    @property
    def is_filtered(self) -> bool:
        """Whether the numbers of the result may have holes."""
        return self.critical_only or self.event_type is not None


def read_head(connection: sqlite3.Connection, run_id: str) -> RunHead | None:
    """Store.head."""
    rows = _rows(connection, f"SELECT json_group_array({_RUN_AS_JSON}) FROM ai_run WHERE id = ?", (run_id,))
    return next(iter(_run_heads(rows)), None)


def read_runs(connection: sqlite3.Connection, limit: int) -> list[RunHead]:
    """Store.runs."""
    newest_first = f"SELECT * FROM ai_run ORDER BY ifnull({_LAST_EVENT_AT}, created_at) DESC, rowid DESC LIMIT ?"
    return _run_heads(
        _rows(connection, f"SELECT json_group_array({_RUN_AS_JSON}) FROM ({newest_first}) AS ai_run", (limit,))
    )


def read_run_count(connection: sqlite3.Connection) -> int:
    """Store.run_count."""
    (count,) = connection.execute("SELECT count(*) FROM ai_run").fetchone()
    return int(count)


def read_page(connection: sqlite3.Connection, query: Query) -> EventPage:
    """Store.read."""
    where, values = _condition(query)
    values |= {"limit": -1 if query.limit is None else query.limit, "max_bytes": query.max_bytes}
    total = f"(SELECT count(*) FROM {_MESSAGES} WHERE {where})" if query.with_total else "0"
    statement = (
        f"SELECT json_array({total}, (SELECT min(sequence_number) FROM {_MESSAGES} WHERE run_id = :run_id),"
        f" (SELECT max(sequence_number) FROM {_MESSAGES} WHERE {where}),"
        f" json_group_array({EVENT_AS_JSON})) FROM ({_page(where, query.max_bytes)})"
    )
    try:
        page = msgspec.json.decode(_rows(connection, statement, values), type=_Page)
        events = sorted(decode_events(query.run_id, bytes(page.events)), key=_number)
    except UNREADABLE as error:
        _raise_damage(connection, _MESSAGES, query.run_id, error)
    oldest = page.oldest or 1
    if not query.is_filtered:
        _refuse_holes(query.run_id, [event.sequence_number for event in events], max(oldest, query.first))
    complete = page.last is None or (events != [] and events[-1].sequence_number == page.last)
    return EventPage(events, page.total, oldest, complete)


class _Page(msgspec.Struct, array_like=True):
    total: int
    oldest: int | None
    last: int | None
    events: msgspec.Raw


def _condition(query: Query) -> tuple[str, dict[str, Any]]:
    terms = ["run_id = :run_id", "sequence_number >= :first"]
    if query.last is not None:
        terms.append("sequence_number <= :last")
    if query.critical_only:
        terms.append("is_critical = 1")
    if query.event_type is not None:
        terms.append("event_type = :event_type")
    return " AND ".join(terms), query._asdict()


def _page(where: str, max_bytes: int | None) -> str:
    if max_bytes is None:
        return f"SELECT * FROM {_MESSAGES} WHERE {where} ORDER BY sequence_number LIMIT :limit"
    # Chosen by data_bytes first, so that no more than the page's own data is taken from the disk. The first event
    # has nothing before it, and is given whatever its size.
    return (
        f"SELECT * FROM {_MESSAGES} WHERE position IN (SELECT position FROM ("
        f"SELECT position, data_bytes, sum(data_bytes) OVER (ORDER BY sequence_number) AS bytes FROM {_MESSAGES}"
        f" WHERE {where} ORDER BY sequence_number LIMIT :limit"
        ") WHERE bytes <= :max_bytes OR bytes = data_bytes) ORDER BY sequence_number"
    )


def read_newest(connection: sqlite3.Connection, run_id: str, max_bytes: int) -> list[StoredEvent]:
    """Store.read_newest."""
    statement = (
        f"SELECT json_group_array({EVENT_AS_JSON}) FROM (SELECT * FROM {_MESSAGES} WHERE position IN ("
        "SELECT position FROM (SELECT position, sum(data_bytes) OVER (ORDER BY sequence_number DESC) AS bytes"
        f" FROM {_MESSAGES} WHERE run_id = ?) WHERE bytes <= ?) ORDER BY sequence_number)"
    )
    events = _events(connection, _MESSAGES, run_id, statement, (run_id, max_bytes))
    numbers = [event.sequence_number for event in events]
    _refuse_holes(run_id, numbers, min(numbers, default=0))
    return events


def read_critical_flags(connection: sqlite3.Connection, run_id: str) -> bytes:
    """Store.critical_flags."""
    pairs = "json_group_array(json_array(sequence_number, is_critical))"
    statement = f"SELECT {pairs} FROM {_MESSAGES} WHERE run_id = ? ORDER BY sequence_number"
    try:
        flags = sorted(msgspec.json.decode(_rows(connection, statement, (run_id,)), type=list[tuple[int, int]]))
    except UNREADABLE as error:
        _raise_damage(connection, _MESSAGES, run_id, error)
    numbers = [number for number, _ in flags]
    _refuse_holes(run_id, numbers, min(numbers, default=0))
    return bytes(critical == 1 for _, critical in flags)


def read_run_state(connection: sqlite3.Connection, run_id: str) -> list[StoredEvent]:
    """Store.run_state."""
    statement = f"SELECT json_group_array({EVENT_AS_JSON}) FROM kept_run_state WHERE run_id = ?"
    return _events(connection, "kept_run_state", run_id, statement, (run_id,))


def _events(
    connection: sqlite3.Connection, table: str, run_id: str, statement: str, values: tuple[Any, ...]
) -> list[StoredEvent]:
    try:
        return sorted(decode_events(run_id, _rows(connection, statement, values)), key=_number)
    except UNREADABLE as error:
        _raise_damage(connection, table, run_id, error)


def _number(event: StoredEvent) -> int:
    # The order of an aggregate's rows is SQLite's habit, not its promise; sorting what is sorted is nearly free.
    return event.sequence_number


def _rows(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...] | dict[str, Any]) -> bytes:
    """The one value that a statement gives; bytes, for the connection decodes no text (it may be damaged)."""
    row: tuple[bytes] = connection.execute(statement, values).fetchone()
    return row[0]


def read_revocations(connection: sqlite3.Connection) -> list[Revocation]:
    """Store.revocations."""
    rows = _rows(connection, "SELECT json_group_array(json_array(kind, name, revoked_at)) FROM revoked_tokens", ())
    return msgspec.json.decode(rows, type=list[Revocation])


def read_span(connection: sqlite3.Connection) -> Span:
    """Store.span: by position, which every row has an index for."""
    one = f"SELECT timestamp FROM {_MESSAGES} ORDER BY position"
    row = _rows(connection, f"SELECT json_array(({one} LIMIT 1), ({one} DESC LIMIT 1))", ())
    return Span(*msgspec.json.decode(row, type=tuple[int | None, int | None]))


def _run_heads(rows: bytes) -> list[RunHead]:
    return [RunHead(*row) for row in msgspec.json.decode(rows, type=list[tuple[str, int, int, int, int | None]])]


def _refuse_holes(run_id: str, numbers: list[int], first: int) -> None:
    for expected, number in enumerate(numbers, start=first):
        if number != expected:
            raise DamagedEvent(run_id, expected)


def _raise_damage(connection: sqlite3.Connection, table: str, run_id: str, error: Exception) -> NoReturn:
    """Find the event that made a whole page unreadable, row by row: slow, and never needed on a sound disk."""
    if isinstance(error, sqlite3.Error) and not is_damage(error):
        raise read_error(error) from error
    every = f"SELECT sequence_number FROM {table} WHERE run_id = ? ORDER BY sequence_number"
    one = f"SELECT json_group_array({EVENT_AS_JSON}) FROM {table} WHERE run_id = ? AND sequence_number = ?"
    number = 0
    try:
        for (number,) in connection.execute(every, (run_id,)).fetchall():
            decode_events(run_id, _rows(connection, one, (run_id, number)))
    except UNREADABLE:
        raise DamagedEvent(run_id, number) from error
    # Each event is sound by itself: the damage is in what leads to them.
    raise DamagedEvent(run_id, 0) from error
