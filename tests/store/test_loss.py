from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from collabd.errors import DatabaseUnusable
from collabd.store import opening
from collabd.store.sqlite import open_store
from tests.store.support import RUN, database_file, events

FILES = ("collabd.sqlite3", "collabd.sqlite3-wal", "collabd.mark")


async def write(data_dir: Path, count: int, *, image: Path | None = None) -> str:
    """Open, commit so many events one by one, close. `image` gets the files as kill -9 would leave them before that."""
    async with open_store(data_dir) as store:
        for new in events(count):
            await store.append([new])
        if image is not None:
            copy_files(data_dir, image)
        return store.epoch


def copy_files(data_dir: Path, image: Path) -> None:
    """The files as they are now."""
    image.mkdir()
    for name in FILES:
        shutil.copy(data_dir / name, image / name)


async def start(data_dir: Path) -> tuple[str, list[int]]:
    """What a start finds: the epoch, and the numbers of the run."""
    async with open_store(data_dir) as store:
        page = await store.read(RUN, first=1)
        return store.epoch, [event.sequence_number for event in page.events]


def said(caplog: pytest.LogCaptureFixture) -> str:
    """The one error that was logged."""
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return record.getMessage()


async def test_a_clean_stop_keeps_the_history(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Stop and start: the same epoch, every event, no word in the log."""
    epoch = await write(tmp_path, 3)
    assert await start(tmp_path) == (epoch, [1, 2, 3])
    assert await start(tmp_path) == (epoch, [1, 2, 3])
    assert caplog.records == []


async def test_a_killed_process_lost_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After kill -9 the write-ahead log has every commit: the same epoch."""
    image = tmp_path / "image"
    epoch = await write(tmp_path / "data", 3, image=image)
    assert await start(image) == (epoch, [1, 2, 3])
    assert caplog.records == []


class Witness:
    """A connection beside whose last checkpoint the files are copied, as kill -9 there would leave them."""

    def __init__(self, connection: sqlite3.Connection, data_dir: Path) -> None:
        self.connection = connection
        self.data_dir = data_dir

    def execute(self, statement: str, *arguments: Any) -> sqlite3.Cursor:
        """What Connection.execute does."""
        last = "TRUNCATE" in statement
        if last:
            copy_files(self.data_dir, self.data_dir.with_name("before"))
        cursor = self.connection.execute(statement, *arguments)
        if last:
            copy_files(self.data_dir, self.data_dir.with_name("after"))
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_stop_that_is_killed_lost_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    """Whether the write-ahead log is just about to go or just gone: the same epoch, every event, no word in the log."""
    async with open_store(tmp_path / "data") as store:
        await store.append(events(3))
        store._database.writer = Witness(store._database.writer, tmp_path / "data")  # type: ignore[assignment]
        epoch = store.epoch
    assert await start(tmp_path / moment) == (epoch, [1, 2, 3])
    assert caplog.records == []


async def test_a_start_that_fails_after_a_kill_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that ends on a full disk leaves the write-ahead log to the next one, not a gap that looks like a loss."""
    image = tmp_path / "image"
    epoch = await write(tmp_path / "data", 3, image=image)

    def full_disk(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(opening, "migrate", full_disk)
        with pytest.raises(DatabaseUnusable, match="no space left"):
            await start(image)
    assert await start(image) == (epoch, [1, 2, 3])


async def test_an_older_copy_is_a_new_history(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A backup put back over a newer database: its events are there, under another epoch."""
    epoch = await write(tmp_path, 2)
    backup = database_file(tmp_path).read_bytes()
    await write(tmp_path, 3)
    database_file(tmp_path).write_bytes(backup)
    after, numbers = await start(tmp_path)
    assert (after != epoch, numbers) == (True, [1, 2])
    assert "3 committed events at the end of the log are missing; a new epoch" in said(caplog)
    assert str(database_file(tmp_path)) in said(caplog)


async def test_a_new_epoch_stays(tmp_path: Path) -> None:
    """The loss is told once; the starts after it go on with the new history."""
    await write(tmp_path, 2)
    (tmp_path / "collabd.mark").unlink()
    after, _ = await start(tmp_path)
    assert await start(tmp_path) == (after, [1, 2])


async def test_a_copy_without_its_mark_is_a_new_history(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database file alone, restored to an empty directory, may be of any age."""
    epoch = await write(tmp_path / "data", 2)
    (tmp_path / "restored").mkdir()
    shutil.copy(database_file(tmp_path / "data"), database_file(tmp_path / "restored"))
    after, numbers = await start(tmp_path / "restored")
    assert (after != epoch, numbers) == (True, [1, 2])
    assert "may be an older copy" in said(caplog)


async def test_another_database_is_a_new_history(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two daemons' databases exchanged: clients of either must not take one for the other."""
    mine, other = await write(tmp_path / "mine", 2), await write(tmp_path / "other", 2)
    shutil.copy(database_file(tmp_path / "other"), database_file(tmp_path / "mine"))
    after, _ = await start(tmp_path / "mine")
    assert after not in (mine, other)
    assert "belongs to another one" in said(caplog)


async def test_a_database_that_is_gone_is_a_new_history(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Beginning anew where there were events is said aloud."""
    epoch = await write(tmp_path, 2)
    database_file(tmp_path).unlink()
    after, numbers = await start(tmp_path)
    assert (after != epoch, numbers) == (True, [])
    assert "the database is missing although there was one" in said(caplog)


@pytest.mark.parametrize("damage", ["deleted", "emptied", "cut short", "zeroed at the end", "a bit flipped"])
async def test_a_log_that_lost_commits_is_a_new_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """SQLite drops what it cannot read of a write-ahead log without a word; the mark tells."""
    image = tmp_path / "image"
    await write(tmp_path / "data", 2)
    epoch = await write(tmp_path / "data", 3, image=image)
    wal = image / "collabd.sqlite3-wal"
    size = wal.stat().st_size
    if damage == "deleted":
        wal.unlink()
    elif damage == "emptied":
        os.truncate(wal, 0)
    elif damage == "cut short":
        os.truncate(wal, size - 5000)
    else:
        content = bytearray(wal.read_bytes())
        content[-4000:] = bytes(4000) if damage == "zeroed at the end" else content[-4000:]
        content[-3000] ^= 4
        wal.write_bytes(content)
    after, numbers = await start(image)
    assert after != epoch
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) < 5
    assert "missing" in said(caplog)


async def test_a_log_lost_with_the_latest_marks_is_a_new_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After a power cut the mark may be an old one; that it was left open without a write-ahead log still tells."""
    image = tmp_path / "image"
    await write(tmp_path / "data", 2)
    clean = (tmp_path / "data" / "collabd.mark").read_bytes()
    epoch = await write(tmp_path / "data", 0, image=image)
    assert (image / "collabd.mark").read_bytes() != clean
    (image / "collabd.sqlite3-wal").unlink()
    after, _ = await start(image)
    assert after != epoch
    assert "the write-ahead log is missing although the last stop was not a clean one" in said(caplog)


async def test_a_database_used_behind_the_marks_back_is_a_new_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy that went on elsewhere and came back has the same epoch and other events."""
    epoch = await write(tmp_path / "here", 2)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    await write(tmp_path / "there", 3)
    shutil.copy(database_file(tmp_path / "there"), database_file(tmp_path / "here"))
    after, _ = await start(tmp_path / "here")
    assert after != epoch
    assert "went on since collabd last closed it" in said(caplog)
