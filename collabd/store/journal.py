"""The one transaction that makes events durable.

Law of this file: plain functions on the one connection that writes; no Trio, no clock. Few statements, each handling
the whole batch: SQLite gives up the interpreter lock at every one, and beside a busy event loop each costs a switch.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import msgspec

from collabd.auth import Revocation
from collabd.errors import StorageFailed
from collabd.store.faults import commit_error, name_of
from collabd.store.interface import AppendResult, NewEvent
from collabd.store.plan import FreshEvent, Head, KnownMessage, Plan, plan_commit, trimmed_to
from collabd.store.rows import KEY_COLUMNS, MESSAGE_COLUMNS, message_key, message_row, time_ordered_id

_ROWS_PER_STATEMENT: Final = 256
_HEADS_KEPT: Final = 10_000
_SWEEPS_PER_WINDOW: Final = 24
_SWEEP_ROWS: Final = 64


@dataclass(frozen=True)
class Limits:
    """What the log keeps: the newest `retention` (at least 1) events of a run, and keys for `window_ms` at least."""

    retention: int
    window_ms: int


@dataclass
class JournalState:
    """What the writer knows without asking the disk. It changes only after a commit that succeeded."""

    position: int = 0
    heads: dict[str, Head] = field(default_factory=dict)
    sweep_from: int = 0
    next_sweep_ms: int = 0


def load_state(connection: sqlite3.Connection) -> JournalState:
    """Where the log of an opened database ends; the heads of runs follow as they are needed."""
    (position,) = connection.execute("SELECT max(position) FROM persisted_collaboration_messages").fetchone()
    return JournalState(position or 0)


def append(
    connection: sqlite3.Connection, state: JournalState, events: Sequence[NewEvent], limits: Limits, now_ms: int
) -> AppendResult:
    """Number, insert, trim and commit a batch, or change nothing: neither on disk nor in `state`.

    Raises StorageUnavailable and StorageFailed as Store.append does.
    """
    with transaction(connection):
        heads = _heads(connection, state, events)
        plan = _plan_and_insert_keys(connection, events, heads, now_ms)
        if not plan.fresh:
            return AppendResult(plan.outcomes, {}, frozenset())
        _insert_new_runs(connection, heads, plan, now_ms)
        _insert_messages(connection, state.position, plan.fresh, now_ms)
        moved = _moved_heads(heads, plan, limits)
        state_changed = _trim(connection, heads, moved)
        swept = _sweep(connection, state, len(events), limits, now_ms)
    state.position += len(plan.fresh)
    state.sweep_from, state.next_sweep_ms = swept
    _remember(state, {**heads, **moved})
    return AppendResult(plan.outcomes, {run: head.oldest for run, head in moved.items()}, state_changed)


def keep_revocation(connection: sqlite3.Connection, revocation: Revocation) -> None:
    """Commit a revocation. Raises StorageUnavailable and StorageFailed as append does."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO revoked_tokens (kind, name, revoked_at) VALUES (?, ?, ?) ON CONFLICT (kind, name)"
            " DO UPDATE SET revoked_at = max(revoked_at, excluded.revoked_at)",
            revocation,
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block is committed, or nothing of it. Raises StorageUnavailable and StorageFailed."""
    try:
        # Not `with connection`: that begins nothing in autocommit mode.
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        _roll_back(connection)
        # Without an error code it is the caller's mistake (a value SQLite cannot hold), not the disk's.
        if isinstance(error, sqlite3.Error) and hasattr(error, "sqlite_errorcode"):
            raise commit_error(error) from error
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite has rolled back by itself after some errors, a full disk at COMMIT among them.
    if not connection.in_transaction:
        return
    try:
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise StorageFailed(f"a failed commit cannot be undone ({name_of(error)}): {error}") from error


def _heads(connection: sqlite3.Connection, state: JournalState, events: Sequence[NewEvent]) -> dict[str, Head]:
    """The heads of all runs in the batch; those not yet in memory come from disk, in one statement."""
    runs = {event.run_id for event in events}
    missing = [run for run in runs if run not in state.heads]
    heads = {run: state.heads[run] for run in runs if run in state.heads}
    if missing:
        rows = connection.execute(
            "SELECT json_group_array(json_array(value,"
            " (SELECT max(sequence_number) FROM persisted_collaboration_messages WHERE run_id = value),"
            " (SELECT min(sequence_number) FROM persisted_collaboration_messages WHERE run_id = value)))"
            " FROM json_each(?)",
            (_json(missing),),
        ).fetchone()[0]
        for run, newest, oldest in msgspec.json.decode(rows, type=list[tuple[str, int | None, int | None]]):
            heads[run] = Head(newest or 0, oldest or 1)
    return heads


def _plan_and_insert_keys(
    connection: sqlite3.Connection, events: Sequence[NewEvent], heads: dict[str, Head], now_ms: int
) -> Plan:
    """Decide what is new. Nearly every batch is all new, so the unique index is the one that is asked first."""
    plan = plan_commit(events, heads, {})
    try:
        _insert_keys(connection, plan.fresh, now_ms)
    except sqlite3.IntegrityError:
        # SQLite has undone one statement. Keys of those before it would now pass for known, so all of it is undone;
        # nothing but keys was written, and nobody else writes in between.
        connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        plan = plan_commit(events, heads, _known(connection, events))
        _insert_keys(connection, plan.fresh, now_ms)
    return plan


def _known(connection: sqlite3.Connection, events: Sequence[NewEvent]) -> dict[bytes, KnownMessage]:
    keys = [key for key in map(message_key, events) if key is not None]
    known: dict[bytes, KnownMessage] = {}
    for start in range(0, len(keys), _ROWS_PER_STATEMENT):
        part = keys[start : start + _ROWS_PER_STATEMENT]
        rows = connection.execute(
            "SELECT message_key, sequence_number, content_hash FROM once_only_keys"
            f" WHERE message_key IN ({', '.join('?' * len(part))})",
            part,
        )
        known |= {key: KnownMessage(number, digest) for key, number, digest in rows.fetchall()}
    return known


def _insert_keys(connection: sqlite3.Connection, fresh: Sequence[FreshEvent], now_ms: int) -> None:
    rows = [
        (new.key, new.event.run_id, new.sequence_number, new.content_hash, now_ms)
        for new in fresh
        if new.key is not None
    ]
    insert(connection, "once_only_keys", KEY_COLUMNS, rows)


def _insert_new_runs(connection: sqlite3.Connection, heads: dict[str, Head], plan: Plan, now_ms: int) -> None:
    rows = [(run, now_ms) for run in plan.newest if heads[run].newest == 0]
    insert(connection, "ai_run", ("id", "created_at"), rows, or_ignore=True)


def _insert_messages(connection: sqlite3.Connection, position: int, fresh: Sequence[FreshEvent], now_ms: int) -> None:
    random = os.urandom(8 * len(fresh))
    rows = [
        message_row(
            new.event,
            position=position + index + 1,
            sequence_number=new.sequence_number,
            row_id=time_ordered_id(now_ms, position + index, random[8 * index : 8 * index + 8]),
        )
        for index, new in enumerate(fresh)
    ]
    insert(connection, "persisted_collaboration_messages", MESSAGE_COLUMNS, rows)


def insert(
    connection: sqlite3.Connection,
    table: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[Any, ...]],
    *,
    or_ignore: bool = False,
) -> None:
    """Insert rows of values (never NULL in the first column), up to 256 in one statement."""
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        part = rows[start : start + _ROWS_PER_STATEMENT]
        size = 1 << (len(part) - 1).bit_length()
        values = [value for row in part for value in row]
        values += [None] * (len(columns) * (size - len(part)))
        connection.execute(_insert_statement(table, columns, size, or_ignore), values)


@cache
def _insert_statement(table: str, columns: tuple[str, ...], size: int, or_ignore: bool) -> str:
    """An INSERT of `size` rows, those that begin with NULL left out.

    Sizes are powers of two, filled up with NULLs, so that the connection's cache of compiled statements stays small.
    Bound values are three to five times as fast as rows taken out of one JSON text by json_each, and exact by nature.
    """
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"INSERT {'OR IGNORE ' if or_ignore else ''}INTO {table} ({', '.join(columns)})"
        f" SELECT * FROM (VALUES {', '.join([row] * size)}) WHERE column1 IS NOT NULL"
    )


def _moved_heads(heads: dict[str, Head], plan: Plan, limits: Limits) -> dict[str, Head]:
    return {
        run: Head(newest, trimmed_to(newest, heads[run].oldest, limits.retention))
        for run, newest in plan.newest.items()
    }


def _trim(connection: sqlite3.Connection, heads: dict[str, Head], moved: dict[str, Head]) -> frozenset[str]:
    """Delete what is older than each run's oldest, and name the runs whose kept state may have changed by it.

    What is state is kept by a trigger of the schema.
    """
    cuts = [(run, head.oldest) for run, head in moved.items() if head.oldest > heads[run].oldest]
    if not cuts:
        return frozenset()
    before = connection.total_changes
    deleted = connection.execute(
        "DELETE FROM persisted_collaboration_messages WHERE position IN ("
        "SELECT position FROM json_each(?) AS cut CROSS JOIN persisted_collaboration_messages"
        " ON run_id = json_extract(cut.value, '$[0]') AND sequence_number < json_extract(cut.value, '$[1]'))",
        (_json(cuts),),
    ).rowcount
    # total_changes counts the trigger's rows too, rowcount does not.
    kept = connection.total_changes - before - deleted
    return frozenset(run for run, _ in cuts) if kept else frozenset()


def _sweep(
    connection: sqlite3.Connection, state: JournalState, batch: int, limits: Limits, now_ms: int
) -> tuple[int, int]:
    """Forget some keys that are past their window and name no retained event; where and when to go on.

    Keys lie in the order they were made. A sweep begins at the oldest, takes a few rows in each commit, more than a
    commit adds, and ends at the first that is within its window; it begins again a 24th of a window later.
    """
    if now_ms < state.next_sweep_ms:
        return state.sweep_from, state.next_sweep_ms
    expired = now_ms - limits.window_ms
    (last,) = connection.execute(
        "SELECT max(key_id) FROM (SELECT key_id, made_at FROM once_only_keys WHERE key_id > ? ORDER BY key_id LIMIT ?)"
        " WHERE made_at < ?",
        (state.sweep_from, _SWEEP_ROWS + 2 * batch, expired),
    ).fetchone()
    if last is None:
        return 0, now_ms + limits.window_ms // _SWEEPS_PER_WINDOW
    connection.execute(
        "DELETE FROM once_only_keys WHERE key_id > ? AND key_id <= ? AND made_at < ? AND NOT EXISTS ("
        "SELECT 1 FROM persisted_collaboration_messages AS message WHERE message.run_id = once_only_keys.run_id"
        " AND message.sequence_number = once_only_keys.sequence_number)",
        (state.sweep_from, last, expired),
    )
    return last, state.next_sweep_ms


def _remember(state: JournalState, heads: dict[str, Head]) -> None:
    if len(state.heads) > _HEADS_KEPT:
        state.heads.clear()
    state.heads.update(heads)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
