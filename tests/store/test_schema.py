from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database

from collabd.store import opening
from collabd.store.reading import read_run_state
from collabd.store.schema import STEPS, migrate
from collabd.store.sqlite import open_store
from tests.store.support import RUN, MemoryLog, database_file, event


def version(connection: sqlite3.Connection) -> int:
    """How many steps a database has taken."""
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    return int(number)


def columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Names and declared types."""
    return {name: kind for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")}


@pytest.fixture
def connection() -> sqlite3.Connection:
    """An empty database."""
    return sqlite3.connect(":memory:", isolation_level=None)


def test_the_names_the_outside_depends_on_are_there(connection: sqlite3.Connection) -> None:
    """Tables, columns and their types, and indexes are those of the seed schema."""
    migrate(connection)
    messages = columns(connection, "persisted_collaboration_messages")
    text = {"id", "run_id", "user_id", "event_type", "message_data"}
    assert {name: messages[name] for name in text} == dict.fromkeys(text, "TEXT")
    number = {"timestamp", "sequence_number", "is_critical"}
    assert {name: messages[name] for name in number} == dict.fromkeys(number, "INTEGER")
    assert columns(connection, "ai_run") == {"id": "TEXT", "created_at": "INTEGER"}
    indexes = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    assert "UNIQUE" in indexes["idx_run_id_sequence"]
    assert "WHERE is_critical = 1" in indexes["idx_critical_messages"]
    ((_, _, parent, own, referred, *_),) = connection.execute(
        "PRAGMA foreign_key_list(persisted_collaboration_messages)"
    ).fetchall()
    assert (parent, own, referred) == ("ai_run", "run_id", "id")


def test_a_migrated_database_is_left_alone(connection: sqlite3.Connection) -> None:
    """Migrating twice is migrating once."""
    migrate(connection)
    migrate(connection)
    assert version(connection) == len(STEPS)


def test_kept_state_is_the_newest_in_whatever_order_rows_go() -> None:
    """The trigger that keeps state compares numbers; it does not lean on the order of a DELETE."""
    log = MemoryLog()
    log.append([event(data=b"1", state_key="k"), event(data=b"2", state_key="k")])
    for number in (2, 1):
        log.connection.execute("DELETE FROM persisted_collaboration_messages WHERE sequence_number = ?", (number,))
    assert [kept.data for kept in read_run_state(log.connection, RUN)] == [b"2"]


def add_a_note(db: Database) -> None:
    """A step of a version to come."""
    db["ai_run"].add_column("note", str)  # type: ignore[union-attr]


def fail_half_way(db: Database) -> None:
    """A step that is interrupted."""
    db["ai_run"].add_column("half", str)  # type: ignore[union-attr]
    raise KeyboardInterrupt


async def test_a_database_of_this_version_opens_under_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next version's step runs once, keeps every event, the epoch and the ids that are known."""
    async with open_store(tmp_path) as store:
        await store.append([event("a")])
        epoch = store.epoch
    migrate_to_next = lambda connection: migrate(connection, (*STEPS, add_a_note))  # noqa: E731
    monkeypatch.setattr(opening, "migrate", migrate_to_next)
    monkeypatch.setattr(opening, "STEPS", (*STEPS, add_a_note))
    for _ in range(2):
        async with open_store(tmp_path) as store:
            assert store.epoch == epoch
            assert len((await store.read(RUN, first=1)).events) == 1
            assert (await store.append([event("a")])).outcomes[0].duplicate
    connection = sqlite3.connect(database_file(tmp_path))
    assert version(connection) == len(STEPS) + 1
    assert "note" in columns(connection, "ai_run")
    connection.close()


async def test_a_database_of_the_first_version_opens_under_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step that was released is taken by the databases that people have; events and epoch stay."""
    with monkeypatch.context() as patch:
        patch.setattr(opening, "migrate", lambda connection: migrate(connection, STEPS[:1]))
        async with open_store(tmp_path) as store:
            await store.append([event()])
            epoch = store.epoch
    async with open_store(tmp_path) as store:
        assert store.epoch == epoch
        assert await store.revocations() == []
        assert len((await store.read(RUN, first=1)).events) == 1


def test_a_first_start_that_is_killed_half_way_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it left is taken for ours, not for the database of another program."""
    with monkeypatch.context() as patch:
        patch.setattr(opening, "migrate", lambda connection: migrate(connection, (fail_half_way,)))
        with pytest.raises(Exception, match="ai_run"):
            opening.open_database(tmp_path, synchronous="full", now_ms=0)
    opening.close_database(opening.open_database(tmp_path, synchronous="full", now_ms=0))


def test_a_step_that_is_interrupted_leaves_the_version_before_it(connection: sqlite3.Connection) -> None:
    """A migration is whole or not there: the steps before it stand, and it runs again next time."""
    with pytest.raises(KeyboardInterrupt):
        migrate(connection, (*STEPS, fail_half_way))
    assert version(connection) == len(STEPS)
    assert "half" not in columns(connection, "ai_run")
    migrate(connection, (*STEPS, add_a_note))
    assert version(connection) == len(STEPS) + 1
