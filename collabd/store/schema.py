"""The tables of a collabd database, and how a database of an older version becomes one of this version.

Law of this file: a step that was ever released is never edited; a change of the schema is a new step at the end.
`user_version` counts the steps a database has taken, and is written in the same transaction as each step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from sqlite_utils import Database, Migrations

Step = Callable[[Database], None]

APPLICATION_ID: Final = 0x636F6C62
"""Says in the file's header (SQLite, "application_id") that the database is collabd's: the ASCII codes of "colb"."""

_FIRST_SCHEMA: Final = (
    """
CREATE TABLE collabd_meta (
    name TEXT PRIMARY KEY,   -- "epoch": the name of the history; "opened_at": milliseconds
    value TEXT NOT NULL
)""",
    """
CREATE TABLE ai_run (
    id TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL   -- milliseconds, like all times here
)""",
    # message_data stands last: SQLite then reads every other column without walking the pages of a long text.
    # TEXT, not JSONB or UUID: those have numeric affinity in SQLite and would rewrite what they hold.
    """
CREATE TABLE persisted_collaboration_messages (
    position INTEGER PRIMARY KEY,   -- grows over all runs: the order of commits
    id TEXT NOT NULL UNIQUE,        -- UUID of version 7 (RFC 9562): time-ordered, so inserts stay at one end
    run_id TEXT NOT NULL REFERENCES ai_run (id),
    user_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    sequence_number INTEGER NOT NULL,
    is_critical INTEGER NOT NULL,   -- 0 or 1
    client_message_id TEXT,
    state_key TEXT,
    checksum INTEGER NOT NULL,      -- CRC-32 over the columns from run_id on but this one and data_bytes
    data_bytes INTEGER NOT NULL,    -- length of message_data in bytes
    message_data TEXT NOT NULL
)""",
    "CREATE UNIQUE INDEX idx_run_id_sequence ON persisted_collaboration_messages (run_id, sequence_number)",
    """
CREATE INDEX idx_critical_messages ON persisted_collaboration_messages (run_id, sequence_number)
WHERE is_critical = 1""",
    # key_id grows with time, so that those that are past their window are found without an index over made_at. The key
    # is a digest because ids are random: each insert lands on another page of the index, and with the ids themselves
    # in it a commit of 256 events wrote two and a half times the pages (half as many again with a million keys).
    """
CREATE TABLE once_only_keys (
    key_id INTEGER PRIMARY KEY,
    message_key BLOB NOT NULL UNIQUE,   -- BLAKE2b, 16 bytes, over run, user and clientMessageId
    run_id TEXT NOT NULL,
    sequence_number INTEGER NOT NULL,
    content_hash INTEGER NOT NULL,      -- BLAKE2b, 8 bytes, over event type and data
    made_at INTEGER NOT NULL
)""",
    """
CREATE TABLE kept_run_state (
    run_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    state_key TEXT NOT NULL,
    sequence_number INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    is_critical INTEGER NOT NULL,
    client_message_id TEXT,
    checksum INTEGER NOT NULL,
    message_data TEXT NOT NULL,
    PRIMARY KEY (run_id, event_type, state_key)
)""",
    # A trigger rather than a statement of its own: no event that is state can leave the log without being kept, and
    # a commit beside a busy event loop has one statement less to wait for.
    """
CREATE TRIGGER keep_trimmed_state AFTER DELETE ON persisted_collaboration_messages WHEN OLD.state_key IS NOT NULL
BEGIN
    INSERT INTO kept_run_state (run_id, event_type, state_key, sequence_number, user_id, timestamp, is_critical,
                                client_message_id, checksum, message_data)
    VALUES (OLD.run_id, OLD.event_type, OLD.state_key, OLD.sequence_number, OLD.user_id, OLD.timestamp,
            OLD.is_critical, OLD.client_message_id, OLD.checksum, OLD.message_data)
    ON CONFLICT (run_id, event_type, state_key) DO UPDATE SET
        sequence_number = excluded.sequence_number, user_id = excluded.user_id, timestamp = excluded.timestamp,
        is_critical = excluded.is_critical, client_message_id = excluded.client_message_id,
        checksum = excluded.checksum, message_data = excluded.message_data
    WHERE excluded.sequence_number > kept_run_state.sequence_number;
END""",
)


_REVOCATIONS: Final = """
CREATE TABLE revoked_tokens (
    kind TEXT NOT NULL,            -- "sub": a user's tokens issued until revoked_at; "jti": one token, for ever
    name TEXT NOT NULL,
    revoked_at INTEGER NOT NULL,   -- milliseconds
    PRIMARY KEY (kind, name)
) WITHOUT ROWID"""


def _first_schema(db: Database) -> None:
    for statement in _FIRST_SCHEMA:
        db.execute(statement)


def _revocations(db: Database) -> None:
    db.execute(_REVOCATIONS)


STEPS: Final[tuple[Step, ...]] = (_first_schema, _revocations)


def migrate(connection: sqlite3.Connection, steps: tuple[Step, ...] = STEPS) -> None:
    """Bring a database up to the last step; each step is one transaction, so a crash leaves a whole version.

    `connection` is in autocommit mode (isolation_level None). `steps` is an argument for tests only.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        # Before any table: a start that is killed here must not leave what the next one takes for a stranger's.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrations = Migrations("collabd")
    for version, step in enumerate(steps, start=1):
        migrations(name=f"{version:04}{step.__name__}")(_numbered(step, version))
    # No plugins: whatever else is installed beside collabd has no business in its database.
    migrations.apply(Database(connection, recursive_triggers=False, execute_plugins=False))


def _numbered(step: Step, version: int) -> Step:
    def take(db: Database) -> None:
        step(db)
        db.execute(f"PRAGMA user_version = {version}")

    return take
