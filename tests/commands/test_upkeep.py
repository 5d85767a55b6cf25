"""`collabd migrate` and `collabd compact`."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from collabd.store.interface import NewEvent
from collabd.store.opening import lock_file
from collabd.store.schema import STEPS
from tests.commands.support import (
    KEPT,
    NOW_MS,
    RETAINED,
    RUNS,
    events_of,
    fails,
    filled,
    make_old,
    run,
    snapshot,
    table,
    write_events,
)


def test_a_database_that_needs_a_migration_is_said_to_and_left_as_it_is(tmp_path: Path) -> None:
    """Exit status 3, and what to do first."""
    old = make_old(tmp_path / "old")
    before = (old / "collabd.sqlite3").read_bytes()
    result = run("migrate", "--check", "--data-dir", old)
    assert result.exit_code == 3
    assert f"has schema 1, this version wants {len(STEPS)}; make a backup" in result.stdout
    assert (old / "collabd.sqlite3").read_bytes() == before


def test_a_migration_keeps_the_epoch_and_is_done_once(tmp_path: Path) -> None:
    """The second time there is nothing to do."""
    data = filled(tmp_path / "data")
    with closing(sqlite3.connect(data / "collabd.sqlite3", isolation_level=None)) as connection:
        connection.execute("DROP TABLE revoked_tokens")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name LIKE '0002%'")
        connection.execute("PRAGMA user_version = 1")
    epoch = table(data, "SELECT value FROM collabd_meta WHERE name = 'epoch'")
    assert f"migrated from schema 1 to {len(STEPS)}" in run("migrate", "--data-dir", data).stdout
    assert "up to date" in run("migrate", "--data-dir", data).stdout
    report = json.loads(run("migrate", "--check", "--json", "--data-dir", data).stdout)
    assert (report["from"], report["to"], report["needed"]) == (len(STEPS), len(STEPS), False)
    assert table(data, "SELECT value FROM collabd_meta WHERE name = 'epoch'") == epoch
    assert len(table(data, RETAINED)) == 20


@pytest.mark.parametrize("command", ["migrate", "compact"])
def test_a_directory_in_use_is_left_to_its_daemon(command: str, tmp_path: Path) -> None:
    """One process writes."""
    data = make_old(tmp_path / "data") if command == "migrate" else filled(tmp_path / "data")
    lock = lock_file(data / "collabd.lock")
    try:
        assert "in use by another collabd" in fails(command, "--data-dir", data)
    finally:
        os.close(lock)


@pytest.mark.parametrize("command", ["migrate", "compact"])
def test_where_no_database_lies_none_is_made(command: str, tmp_path: Path) -> None:
    """A mistyped directory is an error."""
    assert "no database there" in fails(command, "--data-dir", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_compacting_trims_to_the_configured_retention_and_keeps_the_state(tmp_path: Path) -> None:
    """A retention that was lowered reaches quiet runs too; numbers, state and epoch stay."""
    data = filled(tmp_path / "data", retention=1000)
    epoch = table(data, "SELECT value FROM collabd_meta WHERE name = 'epoch'")
    result = run("compact", "--data-dir", data, STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN="4")
    assert result.exit_code == 0, result.output
    assert "52 events trimmed" in result.stdout
    numbers = table(data, "SELECT run_id, sequence_number FROM persisted_collaboration_messages ORDER BY position")
    assert numbers == [(run_id, number) for run_id in RUNS for number in range(27, 31)]
    newest: dict[tuple[str, str, str], int] = {}
    for run_id in RUNS:
        for number, event in enumerate(events_of(run_id, 26), start=1):
            if event.state_key is not None:
                newest[run_id, event.event_type, event.state_key] = number
    kept = {(row[0], row[3], row[7]): row[1] for row in table(data, KEPT)}
    assert kept == newest
    assert table(data, "SELECT value FROM collabd_meta WHERE name = 'epoch'") == epoch
    assert write_events(data, [events_of(RUNS[0], 31)[-1:]]) == epoch[0][0]


def test_compacting_gives_the_disk_back(tmp_path: Path) -> None:
    """And leaves no log behind."""
    data = tmp_path / "data"
    write_events(data, [[NewEvent(RUNS[0], "ann", "GRAFT", b'"%s"' % (b"x" * 20_000), NOW_MS, True)] * 200])
    before = (data / "collabd.sqlite3").stat().st_size
    report = json.loads(
        run("compact", "--data-dir", data, "--json", STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN="1").stdout
    )
    after = (data / "collabd.sqlite3").stat().st_size
    assert (report["trimmedEvents"], report["bytesAfter"]) == (199, after)
    assert after < before / 20
    assert table(data, "PRAGMA integrity_check") == [("ok",)]
    assert not (data / "collabd.sqlite3-wal").exists() or not (data / "collabd.sqlite3-wal").stat().st_size


def test_compacting_forgets_ids_past_their_window_and_no_others(tmp_path: Path) -> None:
    """Those of retained events stay for as long as these."""
    data = filled(tmp_path / "data", retention=10)
    count = "SELECT count(*) FROM once_only_keys"
    (before,) = table(data, count)[0]
    run("compact", "--data-dir", data, STORAGE__MAX_PERSISTED_MESSAGES_PER_RUN="10")
    retained = "SELECT count(*) FROM persisted_collaboration_messages WHERE client_message_id IS NOT NULL"
    assert table(data, count) == table(data, retained) != [(before,)]
    fresh = filled(tmp_path / "fresh", retention=10)
    run("compact", "--data-dir", fresh, STORAGE__DEDUPE_WINDOW_S=str(10**9))
    assert table(fresh, count) == [(before,)]


def test_compacting_without_room_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said how much is wanted."""
    data = filled(tmp_path / "data")
    before = snapshot(data)

    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    assert "of free disk" in fails("compact", "--data-dir", data)
    assert snapshot(data) == before
