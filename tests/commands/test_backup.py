"""`collabd backup` and `collabd restore`."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from collabd.store import backup as backup_module
from collabd.store.interface import NewEvent
from collabd.store.journal import Limits, append
from collabd.store.opening import close_database, open_database
from tests.commands.support import (
    KEPT,
    NOW_MS,
    RETAINED,
    RUNS,
    events_of,
    fails,
    filled,
    make_newer,
    make_old,
    run,
    snapshot,
    table,
    write_events,
)


def test_a_backup_is_one_file_that_holds_every_event(tmp_path: Path) -> None:
    """Readable by its owner only, with nothing beside it, and the source is as it was."""
    data = filled(tmp_path / "data")
    before = snapshot(data)["collabd.sqlite3"]
    result = run("backup", tmp_path / "b.sqlite3", "--data-dir", data)
    assert result.exit_code == 0, result.output
    assert "2 runs, 20 events" in result.stdout
    assert table(tmp_path / "b.sqlite3", RETAINED) == table(data, RETAINED)
    assert table(tmp_path / "b.sqlite3", KEPT) == table(data, KEPT) != []
    assert stat.S_IMODE((tmp_path / "b.sqlite3").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.sqlite3", "data"]
    assert snapshot(data)["collabd.sqlite3"] == before


def test_a_backup_says_what_it_holds_in_json(tmp_path: Path) -> None:
    """For the script that makes it each night."""
    data = filled(tmp_path / "data")
    report = json.loads(run("backup", tmp_path / "b", "--data-dir", data, "--json").stdout)
    (epoch,) = table(data, "SELECT value FROM collabd_meta WHERE name = 'epoch'")[0]
    assert (report["file"], report["runs"], report["events"], report["epoch"]) == (str(tmp_path / "b"), 2, 20, epoch)
    assert report["databaseBytes"] == (tmp_path / "b").stat().st_size


@pytest.mark.parametrize("kind", ["file", "directory", "broken link"])
def test_a_backup_never_overwrites(kind: str, tmp_path: Path) -> None:
    """Whatever has that name stays as it is."""
    data, target = filled(tmp_path / "data"), tmp_path / "b"
    if kind == "file":
        target.write_text("precious")
    elif kind == "directory":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    assert f"{target}: exists already" in fails("backup", target, "--data-dir", data)
    if kind == "file":
        assert target.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_appears_while_the_copy_is_taken_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is given at the end, and only if it is still free."""
    data, target = filled(tmp_path / "data"), tmp_path / "b"
    check = backup_module.check

    def check_slowly(*arguments: object) -> object:
        target.write_text("precious")
        return check(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backup_module, "check", check_slowly)
    assert "exists already" in fails("backup", target, "--data-dir", data)
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "data"]


def test_there_is_nothing_to_back_up_where_no_database_lies(tmp_path: Path) -> None:
    """And no directory is made by looking."""
    assert "no database there" in fails("backup", tmp_path / "b", "--data-dir", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_backup_into_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """With the name of the file."""
    data = filled(tmp_path / "data")
    line = fails("backup", tmp_path / "no" / "b", "--data-dir", data)
    assert f"{tmp_path}/no/b: cannot be written: No such file or directory" in line


def test_a_damaged_database_gives_no_backup(tmp_path: Path) -> None:
    """Better to know it now than at the restore."""
    data = filled(tmp_path / "data")
    with closing(sqlite3.connect(data / "collabd.sqlite3")) as connection:
        connection.execute("UPDATE persisted_collaboration_messages SET message_data = '{}' WHERE position = 25")
        connection.commit()
    assert "does not match its checksum" in fails("backup", tmp_path / "b", "--data-dir", data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_backup_taken_while_events_are_committed_is_one_moment_of_the_log(tmp_path: Path) -> None:
    """Gapless up to some number, and the daemon's log goes on whole."""
    data = tmp_path / "data"
    database = open_database(data, synchronous="normal", now_ms=NOW_MS)
    pieces = [b'{"filler":"%s"}' % (b"x" * 2000)] * 20
    committed, done = threading.Event(), threading.Event()

    def write() -> None:
        while not done.is_set():
            batch = [NewEvent(RUNS[0], "ann", "GRAFT", data, NOW_MS, True) for data in pieces]
            append(database.writer, database.state, batch, Limits(100_000, 1000), NOW_MS)
            if database.state.position >= 400:
                committed.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert committed.wait(60)
        for number in range(3):
            result = run("backup", tmp_path / f"b{number}", "--data-dir", data)
            assert result.exit_code == 0, result.output
    finally:
        done.set()
        writer.join()
    close_database(database)
    for number in range(3):
        (count, oldest, newest) = table(
            tmp_path / f"b{number}",
            "SELECT count(*), min(sequence_number), max(sequence_number) FROM persisted_collaboration_messages",
        )[0]
        assert (oldest, newest) == (1, count)
        assert count >= 400
    assert table(data, "PRAGMA integrity_check") == [("ok",)]


def test_a_backup_gives_up_before_it_makes_the_log_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a copy is taken the writer cannot begin its log anew."""
    monkeypatch.setattr(backup_module, "LONGEST_WAL_BYTES", 0)
    data = tmp_path / "data"
    database = open_database(data, synchronous="normal", now_ms=NOW_MS)
    try:
        assert "grew past" in fails("backup", tmp_path / "b", "--data-dir", data)
    finally:
        close_database(database)
    assert not (tmp_path / "b").exists()


def test_a_restored_backup_has_every_event_under_a_new_epoch(tmp_path: Path) -> None:
    """So no client mistakes it for the history that went on after the backup."""
    data = filled(tmp_path / "data")
    run("backup", tmp_path / "b", "--data-dir", data)
    report = json.loads(run("restore", tmp_path / "b", "--data-dir", tmp_path / "new", "--json").stdout)
    assert table(tmp_path / "new", RETAINED) == table(data, RETAINED)
    assert table(tmp_path / "new", KEPT) == table(data, KEPT)
    old = table(data, "SELECT value FROM collabd_meta WHERE name = 'epoch'")
    assert table(tmp_path / "new", "SELECT value FROM collabd_meta WHERE name = 'epoch'") == [(report["epoch"],)] != old
    # The daemon takes it up as it is: no loss noticed, no second new epoch.
    assert write_events(tmp_path / "new", [events_of(RUNS[0], 1)]) == report["epoch"]


def test_the_once_only_promise_survives_a_restore(tmp_path: Path) -> None:
    """A message that is sent again is known."""
    data = filled(tmp_path / "data")
    run("backup", tmp_path / "b", "--data-dir", data)
    run("restore", tmp_path / "b", "--data-dir", tmp_path / "new")
    again = events_of(RUNS[0], 30)[-3:]
    before = len(table(tmp_path / "new", RETAINED))
    write_events(tmp_path / "new", [again])
    assert len(table(tmp_path / "new", RETAINED)) == before + sum(event.client_message_id is None for event in again)


def test_a_directory_with_a_database_is_not_restored_over(tmp_path: Path) -> None:
    """In use or not, it stays as it is."""
    data = filled(tmp_path / "data")
    run("backup", tmp_path / "b", "--data-dir", data)
    before = snapshot(data)
    assert "holds a database already" in fails("restore", tmp_path / "b", "--data-dir", data)
    assert {**snapshot(data), "collabd.lock": b""} == {**before, "collabd.lock": b""}
    database = open_database(data, synchronous="normal", now_ms=NOW_MS)
    try:
        assert "in use by another collabd" in fails("restore", tmp_path / "b", "--data-dir", data)
    finally:
        close_database(database)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no SQLite database"),
        (b"hello, this is a text of some length" * 100, "no SQLite database"),
        (b"SQLite format 3\0" + b"x" * 5000, "damaged"),
    ],
)
def test_what_is_no_backup_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    """And no data directory is made of it."""
    (tmp_path / "b").write_bytes(content)
    assert words in fails("restore", tmp_path / "b", "--data-dir", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_another_programs_database_and_a_missing_file_are_no_backups(tmp_path: Path) -> None:
    """Each is named."""
    with closing(sqlite3.connect(tmp_path / "b")) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "another program's database" in fails("restore", tmp_path / "b", "--data-dir", tmp_path / "new")
    assert "no such file" in fails("restore", tmp_path / "c", "--data-dir", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_damaged_backup_is_refused_and_leaves_no_database(tmp_path: Path) -> None:
    """A flipped byte is found by SQLite's check or by an event's checksum."""
    data = filled(tmp_path / "data")
    run("backup", tmp_path / "b", "--data-dir", data)
    content = (tmp_path / "b").read_bytes()
    (tmp_path / "b").write_bytes(content.replace(b'{"n":25}', b'{"n":26}', 1))
    assert "failed its check" in fails("restore", tmp_path / "b", "--data-dir", tmp_path / "new")
    assert list(snapshot(tmp_path / "new")) == ["collabd.lock"]


def test_a_backup_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """One line that says which version it wants."""
    newer = make_newer(tmp_path / "newer")
    line = fails("restore", newer / "collabd.sqlite3", "--data-dir", tmp_path / "new", status=2)
    assert "made by a newer collabd (schema 99" in line
    assert not (tmp_path / "new").exists()


def test_a_backup_of_an_older_version_is_migrated_as_it_is_restored(tmp_path: Path) -> None:
    """The backup itself is not touched."""
    old = make_old(tmp_path / "old")
    run("backup", tmp_path / "b", "--data-dir", old)
    before = (tmp_path / "b").read_bytes()
    assert run("restore", tmp_path / "b", "--data-dir", tmp_path / "new").exit_code == 0
    assert "up to date" in run("migrate", "--check", "--data-dir", tmp_path / "new").stdout
    assert (tmp_path / "b").read_bytes() == before
