"""Named places in the daemon at which a test has it die, by kill -9 from within.

Law of this file: it patches a process that was forked for one test; the daemon itself knows nothing of it. A point is
called after what happens there, with `before` or `after`; `arm` has the process die when it comes by for the nth time.
"""

from __future__ import annotations

import inspect
import os
import signal
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from collabd.hub import backlog, fanout, hub, older, polling, publishing, receive, run
from collabd.store import journal, marks, opening, sqlite

CALLS: Final[dict[str, tuple[Any, str]]] = {
    # a start
    "open: lock": (opening, "lock_file"),
    "open: read the mark": (marks.MarkFile, "read"),
    "open: check": (opening, "_refuse_what_is_not_ours"),
    "open: connect": (opening, "_connect_writer"),
    "open: migrate": (opening, "migrate"),
    "open: load": (opening, "load_state"),
    "open: settle the epoch": (opening, "_settle_epoch"),
    "open: sync the directory": (opening, "sync_directory"),
    # a commit
    "commit: heads": (journal, "_heads"),
    "commit: trim": (journal, "_trim"),
    "commit: sweep": (journal, "_sweep"),
    "commit: remember": (journal, "_remember"),
    "mark": (marks.MarkFile, "write"),
    # telling and answering
    "tell: all": (run.Run, "committed"),
    "tell: one": (run.Run, "_tell_persisted"),
    "tell: tick": (fanout.FanOut, "_take_tick"),
    "tell: write": (fanout.FanOut, "_send_to_each"),
    "ack: WebSocket": (receive._Answer, "__call__"),
    "ack: HTTP": (publishing._Batch, "_wait_settled"),
    "ack: HTTP body": (publishing, "_as_data"),
    # joining, replay, poll
    "join: load": (hub.Hub, "_load"),
    "join: attach": (run.Run, "attach"),
    "replay: chunk": (backlog.Backlog, "_next_chunk"),
    "replay: from disk": (older.OlderEvents, "_read"),
    "poll: answer": (polling, "_answer"),
    # housekeeping and stopping
    "checkpoint": (sqlite.SqliteStore, "_checkpoint"),
    "stop: drain": (hub.Hub, "drain"),
    "stop: goodbye": (hub.Hub, "_say_goodbye"),
    "stop: close": (opening, "close_database"),
}
"""Functions and methods: (where it is, its name)."""

STATEMENTS: Final[dict[str, str]] = {
    "sql: BEGIN": "BEGIN",
    "sql: keys": "INSERT INTO once_only_keys",
    "sql: run": "INSERT OR IGNORE INTO ai_run",
    "sql: events": "INSERT INTO persisted_collaboration_messages",
    "sql: trim": "DELETE FROM persisted_collaboration_messages",
    "sql: COMMIT": "COMMIT",
    "sql: journal mode": "PRAGMA journal_mode",
    "sql: checkpoint": "PRAGMA wal_checkpoint(PASSIVE)",
    "sql: last checkpoint": "PRAGMA wal_checkpoint(TRUNCATE)",
}
"""Statements of the connection that writes, by how they begin."""

POINTS: Final = tuple(f"{when} {name}" for name in (*CALLS, *STATEMENTS) for when in ("before", "after"))


def is_of_a_start(point: str) -> bool:
    """Whether every start comes by there, before it is ready."""
    return " open: " in point or point.endswith("sql: journal mode")


def is_of_a_stop(point: str) -> bool:
    """Whether only a stop comes by there."""
    return " stop: " in point or point.endswith("sql: last checkpoint")


def times(point: str) -> int:
    """How often a busy daemon comes by there in a tenth of a second, at least."""
    name = point.partition(" ")[2]
    if name in ("tell: one", "ack: WebSocket"):
        return 13
    return 3 if name.startswith(("tell:", "commit:", "replay: chunk", "ack:")) or name in ("sql: COMMIT", "mark") else 1


def arm(point: str, nth: int) -> None:
    """Have this process die at a point, when it comes by for the nth time (from 1)."""
    when, _, name = point.partition(" ")
    left = nth

    def come_by() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(1, b"reached\n")
            os.kill(os.getpid(), signal.SIGKILL)

    before, after = (come_by, _pass) if when == "before" else (_pass, come_by)
    if name in STATEMENTS:
        _patch_statements(STATEMENTS[name], before, after)
        return
    owner, attribute = CALLS[name]
    patched = _around(getattr(owner, attribute), before, after)
    setattr(owner, attribute, patched)
    if owner is opening and hasattr(sqlite, attribute):  # imported there by name
        setattr(sqlite, attribute, patched)


def _pass() -> None:
    pass


def _around(inner: Callable[..., Any], before: Callable[[], None], after: Callable[[], None]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(inner):

        async def call_async(*arguments: Any, **options: Any) -> Any:
            before()
            result = await inner(*arguments, **options)
            after()
            return result

        return call_async

    def call(*arguments: Any, **options: Any) -> Any:
        before()
        result = inner(*arguments, **options)
        after()
        return result

    return call


def _patch_statements(beginning: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            ours = sql.startswith(beginning)
            if ours:
                before()
            cursor = super().execute(sql, *arguments)
            if ours:
                after()
            return cursor

    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connect_watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        # Readers are opened by URI; none of the statements is theirs.
        if options.get("uri"):
            return connect(*arguments, **options)
        return connect(*arguments, factory=Watched, **options)

    sqlite3.connect = connect_watched  # type: ignore[assignment]
