from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from collabd.errors import DatabaseUnusable
from collabd.store.opening import close_database, open_database
from tests.store.support import database_file


def refusal(data_dir: Path) -> str:
    """The one line that a start on this directory ends with."""
    with pytest.raises(DatabaseUnusable) as refused:
        open_database(data_dir, synchronous="full", now_ms=0)
    line = str(refused.value)
    assert "\n" not in line
    return line


def make_database(data_dir: Path) -> None:
    """A database of ours, closed cleanly."""
    close_database(open_database(data_dir, synchronous="full", now_ms=0))


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """The file holds the same bytes after as before."""
    before = path.read_bytes()
    yield
    assert path.read_bytes() == before


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    """A small file system of its own at `path`, or the test is skipped, saying why."""
    path.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("NOT TESTED: a full or read-only disk needs the right to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def mode(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_private(tmp_path: Path) -> None:
    """Directory 0700, every file 0600, under any umask."""
    before = os.umask(0)
    try:
        database = open_database(tmp_path / "new" / "data", synchronous="full", now_ms=0)
    finally:
        os.umask(before)
    data_dir = database.path.parent
    assert mode(data_dir) == 0o700
    assert {path.name: mode(path) for path in data_dir.iterdir()} == dict.fromkeys(
        ["collabd.lock", "collabd.mark", "collabd.sqlite3", "collabd.sqlite3-shm", "collabd.sqlite3-wal"], 0o600
    )
    close_database(database)


def test_a_clean_stop_leaves_no_log_behind(tmp_path: Path) -> None:
    """After a stop the database file is all there is to copy, with a mark that says so."""
    make_database(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"collabd.lock", "collabd.mark", "collabd.sqlite3"}
    assert b" clean " in (tmp_path / "collabd.mark").read_bytes()


@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_commits_are_as_durable_as_the_setting_says(tmp_path: Path, synchronous: str) -> None:
    """FULL is 2 and NORMAL is 1 in SQLite's words; the log is write-ahead, its checkpoints are called by name."""
    database = open_database(tmp_path, synchronous=synchronous, now_ms=0)  # type: ignore[arg-type]
    pragmas = ("synchronous", "journal_mode", "wal_autocheckpoint")
    values = tuple(database.writer.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas)
    assert values == ({"full": 2, "normal": 1}[synchronous], "wal", 0)
    close_database(database)


def test_a_second_daemon_on_a_directory_is_refused(tmp_path: Path) -> None:
    """It is told who holds the directory, and the first goes on; after the first's end the lock is free."""
    first = open_database(tmp_path, synchronous="full", now_ms=0)
    line = refusal(tmp_path)
    assert f"in use by another collabd (process {os.getpid()})" in line
    assert str(tmp_path) in line
    first.writer.execute("SELECT count(*) FROM ai_run")
    close_database(first)
    make_database(tmp_path)


def test_a_refused_start_leaves_nothing_locked(tmp_path: Path) -> None:
    """What stood in the way taken away, the next start works."""
    database_file(tmp_path).write_bytes(b"mine\n")
    refusal(tmp_path)
    database_file(tmp_path).unlink()
    make_database(tmp_path)


@pytest.mark.parametrize("content", [b"x", b"# my notes\n" * 1000, b"SQLite format 2\0" + bytes(4096)])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """It keeps its bytes, whatever they are."""
    database_file(tmp_path).write_bytes(content)
    with unchanged(database_file(tmp_path)):
        line = refusal(tmp_path)
    assert line.startswith(f"{database_file(tmp_path)}: no SQLite database")


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """An SQLite database that collabd did not make is not collabd's to change."""
    connection = sqlite3.connect(database_file(tmp_path))
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with unchanged(database_file(tmp_path)):
        assert "the database of another program" in refusal(tmp_path)


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    """An older program does not guess what a newer one meant; it says which version made the file."""
    make_database(tmp_path)
    connection = sqlite3.connect(database_file(tmp_path), isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with unchanged(database_file(tmp_path)):
        line = refusal(tmp_path)
    assert "made by a newer collabd (schema 99," in line


def test_a_damaged_database_is_refused_after_a_stop_that_was_not_clean(tmp_path: Path) -> None:
    """Overwritten pages are found before anything is written to them."""
    crashed = open_database(tmp_path / "crashed", synchronous="full", now_ms=0)
    crashed.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = tmp_path / "copy"
    copy.mkdir()
    content = bytearray(database_file(tmp_path / "crashed").read_bytes())
    close_database(crashed)
    content[4096:12288] = b"\xff" * 8192
    database_file(copy).write_bytes(content)
    with unchanged(database_file(copy)):
        assert "damaged" in refusal(copy)


def test_a_damaged_schema_is_refused(tmp_path: Path) -> None:
    """Even where SQLite's own words about it are no text."""
    make_database(tmp_path)
    content = database_file(tmp_path).read_bytes()
    database_file(tmp_path).write_bytes(
        content.replace(b"CREATE TABLE kept_run_state", b"CREATE TABLE \xff\xfe \xff,(\xc3\x28")
    )
    with unchanged(database_file(tmp_path)):
        assert "damaged" in refusal(tmp_path)


def test_a_truncated_database_is_refused(tmp_path: Path) -> None:
    """A file cut short is not taken for a smaller one."""
    make_database(tmp_path)
    (tmp_path / "collabd.mark").unlink()
    os.truncate(database_file(tmp_path), 8192)
    with unchanged(database_file(tmp_path)):
        assert "damaged" in refusal(tmp_path)


def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    """SQLite would delete the log of an empty database; it may hold the only copy of events."""
    wal = tmp_path / "collabd.sqlite3-wal"
    wal.write_bytes(b"events" * 100)
    with unchanged(wal):
        assert "missing or empty, but collabd.sqlite3-wal beside it holds events" in refusal(tmp_path)


def test_a_database_locked_by_another_program_is_refused(tmp_path: Path) -> None:
    """A shell that holds a transaction open is told apart from a second daemon."""
    make_database(tmp_path)
    other = sqlite3.connect(database_file(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "locked by another program; close what has it open" in refusal(tmp_path)
    other.execute("ROLLBACK")
    other.close()
    make_database(tmp_path)


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    """A file in the place of the directory, or on the way to it, or a directory in the place of the file."""
    (tmp_path / "file").write_text("mine")
    assert "not a directory" in refusal(tmp_path / "file")
    assert "not a directory" in refusal(tmp_path / "file" / "data")
    (tmp_path / "data" / "collabd.sqlite3").mkdir(parents=True)
    assert "a directory where a file should be" in refusal(tmp_path / "data")


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    """With no room for a new database, or for opening an old one, the start says so and harms nothing."""
    with mounted(tmp_path / "disk", "size=400k"):
        data_dir = tmp_path / "disk" / "data"
        make_database(data_dir)
        filler = tmp_path / "disk" / "filler"
        with unchanged(database_file(data_dir)):
            with ended_by_a_full_disk(), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            assert "no space left on the disk; make room" in refusal(data_dir)
            assert "no space left on the disk; make room" in refusal(tmp_path / "disk" / "second")
        filler.unlink()
        make_database(data_dir)


@contextmanager
def ended_by_a_full_disk() -> Iterator[None]:
    """The block writes until nothing more goes in."""
    with pytest.raises(OSError, match="No space left"):
        yield


def test_a_read_only_disk_is_refused(tmp_path: Path) -> None:
    """The start names the file it cannot write."""
    with mounted(tmp_path / "disk", "size=1m"):
        data_dir = tmp_path / "disk" / "data"
        make_database(data_dir)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "disk"], check=True)
        line = refusal(data_dir)
        assert str(data_dir) in line
        assert "on a read-only file system" in line


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from collabd.errors import DatabaseUnusable
from collabd.store.opening import open_database
os.setuid(65534)
try:
    open_database(Path(sys.argv[1]), synchronous="full", now_ms=0)
except DatabaseUnusable as refused:
    print(refused)
"""


@pytest.mark.slow
async def test_files_of_another_user_are_refused(tmp_path: Path) -> None:
    """A directory or a database that this user may not write is refused with the file's name."""
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: becoming another user needs root")
    make_database(tmp_path)
    shared = Path("/tmp") / f"collabd-test-{os.getpid()}"
    shared.mkdir(mode=0o755)
    try:
        content = database_file(tmp_path).read_bytes()
        database_file(shared).write_bytes(content)
        database_file(shared).chmod(0o444)
        assert "may not write there" in await start_as_nobody(shared)
        shared.chmod(0o777)
        assert "collabd.sqlite3: read-only; make it writable for this user" in await start_as_nobody(shared)
        assert database_file(shared).read_bytes() == content
    finally:
        for path in shared.iterdir():
            path.unlink()
        shared.rmdir()


async def start_as_nobody(data_dir: Path) -> str:
    """What a start by an unprivileged user prints."""
    done = await trio.run_process([sys.executable, "-c", AS_ANOTHER_USER, str(data_dir)], capture_stdout=True)
    return done.stdout.decode()
