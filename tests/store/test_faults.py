from __future__ import annotations

import errno
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from collabd.errors import StorageFailed, StorageUnavailable
from collabd.store.faults import commit_error
from collabd.store.interface import Outcome
from collabd.store.opening import WAL_LIMIT_BYTES, wal_path
from collabd.store.sqlite import SqliteStore, open_store
from tests.store.support import RUN, MemoryLog, database_file, event, events
from tests.store.test_opening import ended_by_a_full_disk, mounted


class FailingWriter:
    """A connection whose statements fail with an error of SQLite's when they begin with a word."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.fail_at: str | None = None
        self.code = sqlite3.SQLITE_IOERR_FSYNC

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        """What Connection.execute does, or the fault."""
        if self.fail_at is not None and statement.startswith(self.fail_at):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self.code
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self.connection.execute(statement, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def failing_writer(store: SqliteStore) -> FailingWriter:
    """Put a failing connection in the place of the store's own."""
    writer = FailingWriter(store._database.writer)
    store._database.writer = writer  # type: ignore[assignment]
    return writer


def fill_up(log: MemoryLog) -> None:
    """Leave the database no page to grow by."""
    (pages,) = log.connection.execute("PRAGMA page_count").fetchone()
    log.connection.execute(f"PRAGMA max_page_count = {pages}")


LARGE = b'"' + b"x" * 20_000 + b'"'


def test_a_full_disk_refuses_and_burns_no_number() -> None:
    """Nothing of the batch is there, and with room again the next event has the next number."""
    log = MemoryLog(retention=5)
    log.append([event("a")])
    fill_up(log)
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="the disk is full"):
            log.append([event("b"), event("c", data=LARGE)])
    assert [e.sequence_number for e in log.page().events] == [1]
    log.connection.execute("PRAGMA max_page_count = 100000")
    again = log.append([event("b"), event("c", data=LARGE), event("a")])
    assert again.outcomes == [Outcome(2), Outcome(3), Outcome(1, duplicate=True)]


def test_a_full_disk_does_not_stop_what_fits() -> None:
    """Where trimming makes the room that an event needs, it is kept."""
    log = MemoryLog(retention=3)
    for _ in range(6):
        log.append([event(data=LARGE)])
    fill_up(log)
    log.append([event(data=LARGE[:5000] + b'"')])
    assert [e.sequence_number for e in log.page().events] == [5, 6, 7]


async def test_a_disk_that_is_full_and_has_room_again(tmp_path: Path) -> None:
    """On a real full file system: refused as passing, reads go on, and it recovers without a restart."""
    with mounted(tmp_path / "disk", "size=3m"):
        async with open_store(tmp_path / "disk" / "data") as store:
            await store.append([event("a")])
            filler = tmp_path / "disk" / "filler"
            with ended_by_a_full_disk(), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            written = 1 + await append_until_refused(store)
            assert (await store.read(RUN, first=1, limit=1)).events[0].client_message_id == "a"
            filler.unlink()
            assert (await store.append([event("b")])).outcomes == [Outcome(written + 1)]
            epoch = store.epoch
        async with open_store(tmp_path / "disk" / "data") as store:
            assert store.epoch == epoch
            head = await store.head(RUN)
            assert head is not None
            assert head.head == written + 1


async def append_until_refused(store: SqliteStore) -> int:
    """Fill what room is left inside the database's own files; how many events went in."""
    for written in range(100):
        try:
            await store.append([event(data=LARGE)])
        except StorageUnavailable:
            return written
    raise AssertionError("the disk is not full")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, StorageUnavailable),
        (sqlite3.SQLITE_BUSY, StorageUnavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StorageUnavailable),
        (sqlite3.SQLITE_LOCKED, StorageUnavailable),
        (sqlite3.SQLITE_READONLY, StorageUnavailable),
        (sqlite3.SQLITE_CANTOPEN, StorageUnavailable),
        (sqlite3.SQLITE_IOERR_SHMSIZE, StorageUnavailable),
        (sqlite3.SQLITE_IOERR, StorageFailed),
        (sqlite3.SQLITE_IOERR_WRITE, StorageFailed),
        (sqlite3.SQLITE_IOERR_FSYNC, StorageFailed),
        (sqlite3.SQLITE_CORRUPT, StorageFailed),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, StorageFailed),
    ],
)
def test_an_error_passes_or_it_does_not(code: int, kind: type[Exception]) -> None:
    """What was not written and may be later is retryable; what can no longer be believed ends the process."""
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode = code
    assert type(commit_error(error)) is kind


async def test_a_locked_database_refuses_until_it_is_free(tmp_path: Path) -> None:
    """Another program's transaction is waited for a little, then told, then over."""
    async with open_store(tmp_path) as store:
        store._database.writer.execute("PRAGMA busy_timeout = 0")
        await store.append([event()])
        other = sqlite3.connect(database_file(tmp_path), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked by another program"):
            await store.append([event()])
        other.execute("ROLLBACK")
        other.close()
        assert (await store.append([event()])).outcomes == [Outcome(2)]


@pytest.mark.parametrize("fail_at", ["BEGIN", "INSERT", "COMMIT"])
async def test_after_an_io_error_nothing_is_acknowledged_any_more(tmp_path: Path, fail_at: str) -> None:
    """SQLite reports success for the commit after a failed fsync; the store does not."""
    async with open_store(tmp_path) as store:
        await store.append([event()])
        writer = failing_writer(store)
        writer.fail_at = fail_at
        with pytest.raises(StorageFailed, match="SQLITE_IOERR_FSYNC"):
            await store.append([event()])
        writer.fail_at = None
        with pytest.raises(StorageFailed, match="SQLITE_IOERR_FSYNC"):
            await store.append([event()])
        assert len((await store.read(RUN, first=1)).events) == 1


async def test_after_an_io_error_the_next_start_recovers(tmp_path: Path) -> None:
    """The store is left as after kill -9: what was acknowledged is there, under the same epoch."""
    async with open_store(tmp_path) as store:
        await store.append(events(3))
        epoch = store.epoch
        failing_writer(store).fail_at = "COMMIT"
        with pytest.raises(StorageFailed):
            await store.append([event()])
    assert wal_path(database_file(tmp_path)).stat().st_size > 0
    assert b" open " in (tmp_path / "collabd.mark").read_bytes()
    async with open_store(tmp_path) as store:
        assert store.epoch == epoch
        assert len((await store.read(RUN, first=1)).events) == 3


@pytest.mark.parametrize("statement", ["SELECT 1 FROM ai_run", "BEGIN; SELECT 1 FROM ai_run"])
async def test_a_stop_is_clean_while_another_program_looks_on(tmp_path: Path, statement: str) -> None:
    """An operator's shell that stays open, idle or in the middle of a read, does not cost the clients their epoch."""
    async with open_store(tmp_path) as store:
        store._database.writer.execute("PRAGMA busy_timeout = 0")
        await store.append([event()])
        epoch = store.epoch
        shell = sqlite3.connect(database_file(tmp_path), isolation_level=None)
        for part in statement.split("; "):
            shell.execute(part).fetchall()
    shell.close()
    async with open_store(tmp_path) as store:
        assert store.epoch == epoch


async def test_a_commit_that_cannot_be_undone_is_a_failure(tmp_path: Path) -> None:
    """A transaction that stays open would swallow the next one."""
    async with open_store(tmp_path) as store:
        writer = failing_writer(store)
        writer.fail_at, writer.code = "ROLLBACK", sqlite3.SQLITE_IOERR
        writer.connection.execute("CREATE TRIGGER no BEFORE INSERT ON ai_run BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(StorageFailed, match="cannot be undone"):
            await store.append([event()])
        writer.fail_at = None
        writer.connection.execute("ROLLBACK")


async def test_a_failed_checkpoint_is_a_failure(tmp_path: Path) -> None:
    """SQLite would hide it, begin the log anew, and lose what the database did not get."""
    async with open_store(tmp_path) as store:
        writer = failing_writer(store)
        writer.fail_at = "PRAGMA wal_checkpoint"
        await trio.to_thread.run_sync(store._checkpoint)
        with pytest.raises(StorageFailed, match="cannot be moved into the database"):
            await store.append([event()])
        writer.fail_at = None


async def test_a_checkpoint_that_finds_no_room_is_tried_again(tmp_path: Path) -> None:
    """A full disk is no reason to stop: the events are in the log."""
    async with open_store(tmp_path) as store:
        writer = failing_writer(store)
        writer.fail_at, writer.code = "PRAGMA wal_checkpoint", sqlite3.SQLITE_FULL
        await trio.to_thread.run_sync(store._checkpoint)
        await store.append([event()])
        writer.fail_at = None


async def test_a_mark_that_cannot_be_written_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails the mark is not to be believed for the log either."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with open_store(tmp_path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(store._database.mark, "write", fail)
            with pytest.raises(StorageFailed, match="mark"):
                await store.append([event()])


@pytest.mark.parametrize("name", ["collabd.sqlite3", "collabd.sqlite3-wal"])
@pytest.mark.parametrize("replaced", [False, True])
async def test_files_that_are_removed_under_the_store_are_a_failure(tmp_path: Path, name: str, replaced: bool) -> None:
    """What is committed to a file that no start will find is not acknowledged."""
    async with open_store(tmp_path) as store:
        await store.append([event()])
        (tmp_path / name).rename(tmp_path / "moved")
        if replaced:
            (tmp_path / name).write_bytes((tmp_path / "moved").read_bytes())
        with pytest.raises(StorageFailed, match="moved or removed while in use"):
            await store.append([event()])
        (tmp_path / "moved").rename(tmp_path / name)


async def test_a_value_that_no_row_can_hold_harms_only_its_batch(tmp_path: Path) -> None:
    """A mistake of the program's own is rolled back and raised as what it is."""
    async with open_store(tmp_path) as store:
        with pytest.raises(OverflowError):
            await store.append([event(), event(timestamp=2**70)])
        assert (await store.append([event()])).outcomes == [Outcome(1)]


async def test_the_write_ahead_log_stays_short(tmp_path: Path) -> None:
    """However much is written, the log is moved into the database between commits and begins anew."""
    longest = 0
    async with open_store(tmp_path, retention=50, synchronous="normal") as store:
        for _ in range(40):
            await store.append([event(data=b'"' + b"x" * 60_000 + b'"') for _ in range(10)])
            longest = max(longest, wal_path(database_file(tmp_path)).stat().st_size)
    assert longest < 3 * WAL_LIMIT_BYTES
    assert not wal_path(database_file(tmp_path)).exists()


async def test_reads_and_commits_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Readers see whole commits only, and more readers than connections all get their turn."""
    async with open_store(tmp_path) as store:

        async def read_often() -> None:
            for _ in range(10):
                page = await store.read(RUN, first=1)
                assert len(page.events) % 10 == 0

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read_often)
            for _ in range(20):
                await store.append(events(10))
        assert len(store._idle_readers) <= 2


async def test_an_error_in_the_block_closes_the_store(tmp_path: Path) -> None:
    """However the block ends, the next start finds a clean stop."""

    async def fail() -> None:
        async with open_store(tmp_path) as store:
            await store.append([event()])
            raise ValueError

    with pytest.raises(ExceptionGroup):
        await fail()
    with trio.CancelScope() as scope:
        async with open_store(tmp_path):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert b" clean " in (tmp_path / "collabd.mark").read_bytes()


async def test_no_other_program_is_locked_out_of_reading(tmp_path: Path) -> None:
    """An operator may look into the database while the daemon runs."""
    async with open_store(tmp_path) as store:
        await store.append([event()])
        look = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM ai_run'))"
        command = [sys.executable, "-c", look, str(database_file(tmp_path))]
        done = await trio.run_process(command, capture_stdout=True)
        assert done.stdout == b"(1,)\n"
        assert (await store.append([event()])).outcomes == [Outcome(2)]
