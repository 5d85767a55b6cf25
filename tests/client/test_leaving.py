"""What comes out of the block: the application's own errors as they were raised, and ours by name."""

from __future__ import annotations

import errno
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from collabd.client import Settings, errors, open_run
from collabd.client.engine import Surroundings
from collabd.client.queue_file import QueueFile
from tests.client.conftest import RUN, URL, Opener
from tests.client.fake_server import FakeServer, fake_server


class Broken(Exception):
    """The application's own."""


async def test_the_blocks_own_error_keeps_its_cause_and_context(autojump_clock: MockClock, opened: Opener) -> None:
    """P4: as it was raised, not as we passed it on."""
    reason = KeyError("reason")
    async with fake_server() as server:
        with pytest.raises(Broken) as caught:
            async with opened(server):
                raise Broken from reason
        assert caught.value.__cause__ is reason
        with pytest.raises(Broken) as caught:
            async with opened(server):
                try:
                    raise reason
                except KeyError:
                    raise Broken  # noqa: B904, that is the point
        assert caught.value.__context__ is reason
        assert not caught.value.__suppress_context__


async def test_an_error_of_the_blocks_own_tasks_stays_a_group(autojump_clock: MockClock, opened: Opener) -> None:
    """P4: we take away our own wrapping and no other."""
    async with fake_server() as server:
        with pytest.raises(ExceptionGroup) as caught:
            async with opened(server), trio.open_nursery() as nursery:
                nursery.start_soon(fail)
        assert [type(error) for error in caught.value.exceptions] == [Broken]


async def fail() -> None:
    """Raise the application's own error."""
    await trio.lowlevel.checkpoint()
    raise Broken


async def test_an_error_while_reading_does_not_end_the_client_without_a_word(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """P4: the session is closed, and whoever still waits is told."""
    async with fake_server() as server:
        server.swallow_acks = True
        with pytest.raises(Broken):
            async with opened(server) as run:
                message = run.send_nowait("FLAG", 1)
                await server.publish()
                async for _ in run:
                    raise Broken
        with pytest.raises(errors.RunClosed):
            await message.wait_committed()
        assert server.peer.socket.closed is not None


@pytest.mark.parametrize(
    ("url", "run_id", "user_id", "error"),
    [
        (17, RUN, "ann", errors.InvalidUrl),
        ("http://a..b", RUN, "ann", errors.InvalidUrl),
        ("http://a b", RUN, "ann", errors.InvalidUrl),
        ("http://h:0", RUN, "ann", errors.InvalidUrl),
        ("http://" + "a" * 64, RUN, "ann", errors.InvalidUrl),
        (URL, 17, "ann", errors.InvalidRunId),
        (URL, RUN, 17, errors.InvalidUserId),
        (URL, RUN, None, errors.InvalidUserId),
    ],
)
async def test_what_open_run_cannot_use_is_a_named_error(
    autojump_clock: MockClock, url: Any, run_id: Any, user_id: Any, error: type[Exception]
) -> None:
    """Errors by name: no TypeError, no UnicodeError from deep inside."""
    async with fake_server() as server:
        with pytest.raises(error):
            async with open_run(url, run_id, user_id=user_id, surroundings=Surroundings(dial=server.dial)):
                raise AssertionError("never opened")


async def test_an_event_type_that_is_no_text_is_a_named_error(autojump_clock: MockClock, opened: Opener) -> None:
    """R11."""
    async with fake_server() as server, opened(server) as run:
        for wrong in (17, None, b"FLAG"):
            with pytest.raises(errors.InvalidEventType, match="no str"):
                run.send_nowait(wrong, {})  # type: ignore[arg-type]


# The queue file


def keeping(server: FakeServer, path: Path, **options: Any) -> Any:
    """Open the run with a queue file; no virtual clock, since fsync is on a thread."""
    settings = Settings(leave_timeout_s=0.05)
    surroundings = Surroundings(dial=server.dial)
    return open_run(URL, RUN, user_id="ann", queue_file=path, settings=settings, surroundings=surroundings, **options)


def kept(path: Path) -> list[str]:
    """The ids that a file keeps."""
    queue = QueueFile(path, server=URL, run_id=RUN, user_id="ann")
    queue.close()
    return [message.client_message_id for message in queue.kept]


def broken(*arguments: Any) -> Any:
    """A disk that is broken."""
    raise OSError(errno.EIO, "Input/output error")


async def test_what_is_left_when_leaving_is_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R23, R34: a message that no task had come to flush yet."""
    synced: list[int] = []
    really = os.fsync

    def sync(fd: int) -> None:
        synced.append(fd)
        really(fd)

    async with fake_server() as server:
        server.is_down = True
        with trio.CancelScope() as scope:
            async with keeping(server, tmp_path / "queue", start_offline=True) as run:
                monkeypatch.setattr(os, "fsync", sync)
                message = run.send_nowait("FLAG", 1)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert synced
        assert kept(tmp_path / "queue") == [message.client_message_id]


async def test_what_cannot_be_made_durable_when_leaving_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R32: the queue file is no promise then."""
    async with fake_server() as server:
        with pytest.raises(errors.MessagesUndelivered) as caught:
            async with keeping(server, tmp_path / "queue", start_offline=True) as run:
                server.is_down = True
                monkeypatch.setattr(os, "fsync", broken)
                message = run.send_nowait("FLAG", 1)
        assert caught.value.client_message_ids == [message.client_message_id] or message.state == "rejected"
        with pytest.raises(errors.MessageRejected, match="storage_blocked"):
            await message.wait_committed()


async def test_a_disk_that_failed_once_is_not_believed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R23: after an error the system forgets what it could not write, so the file is written anew, all of it."""
    path = tmp_path / "queue"
    failures = iter([True])

    def fails_once(fd: int) -> None:
        if next(failures, False):
            broken()

    async with fake_server() as server:
        server.swallow_acks = True
        async with keeping(server, path) as run:
            before = path.stat().st_ino
            monkeypatch.setattr(os, "fsync", fails_once)
            message = run.send_nowait("FLAG", 1)
            with trio.fail_after(60):
                while not server.log:  # noqa: ASYNC110, it rings no bell here
                    await trio.sleep(0.001)
            assert path.stat().st_ino != before
    assert kept(path) == [message.client_message_id]


@pytest.mark.parametrize("harm", ["removed", "replaced", "cut"])
async def test_a_queue_file_that_somebody_takes_away_is_made_anew(tmp_path: Path, harm: str) -> None:
    """R32: what went on into a file that nobody can find again would be lost silently."""
    path = tmp_path / "queue"
    async with fake_server() as server:
        server.swallow_acks = True
        async with keeping(server, path) as run:
            first = run.send_nowait("FLAG", 1)
            await committed(server, 1)
            if harm == "removed":
                path.unlink()
            elif harm == "replaced":
                (tmp_path / "other").write_text("")
                (tmp_path / "other").replace(path)
            else:
                os.truncate(path, 10)
            second = run.send_nowait("FLAG", 2)
            await committed(server, 2)
    assert kept(path) == [first.client_message_id, second.client_message_id]


async def committed(server: FakeServer, count: int) -> None:
    """Wait until the server has so many."""
    with trio.fail_after(60):
        while len(server.log) < count:  # noqa: ASYNC110, it rings no bell here
            await trio.sleep(0.001)


async def test_a_full_disk_while_shrinking_the_file_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R32: the long file goes on."""
    monkeypatch.setattr("collabd.client.queue_file._REWRITE_ABOVE_BYTES", 500)
    async with fake_server() as server:
        async with keeping(server, tmp_path / "queue") as run:
            monkeypatch.setattr(os, "replace", broken)
            for number in range(10):
                await run.send_flag("s", str(number))
            monkeypatch.undo()
            last = await run.send_flag("s", "last")
        assert last.sequence_number == 11
    assert kept(tmp_path / "queue") == []


async def test_a_new_file_is_written_on_even_where_its_directory_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: once the new file has the name it is the one that is written on, whatever comes after."""
    path = tmp_path / "queue"
    monkeypatch.setattr(QueueFile, "_sync_directory", broken)
    with pytest.raises(errors.StorageBlocked):
        QueueFile(path, server=URL, run_id=RUN, user_id="ann")
    monkeypatch.undo()
    queue = QueueFile(path, server=URL, run_id=RUN, user_id="ann")
    monkeypatch.setattr(QueueFile, "_sync_directory", broken)
    with pytest.raises(errors.StorageBlocked):
        queue.rewrite([])
    assert os.fstat(queue._fd).st_ino == path.stat().st_ino
    queue.close()


@pytest.mark.parametrize(
    "line",
    [
        {"add": '{"clientMessageId":1,"eventType":"FLAG"}', "attempts": 0},
        {"add": '{"clientMessageId":"a","eventType":null}', "attempts": 0},
        {"add": '{"clientMessageId":"a","eventType":"FLAG"}', "attempts": "x"},
        {"add": "[]", "attempts": 0},
        {"add": 5, "attempts": 0},
        {"add": '{"clientMessageId":"a","eventType":"FLAG"}', "attempts": 0, "crc32": 1},
    ],
)
def test_a_line_that_is_json_and_no_message_is_damage(tmp_path: Path, line: Any) -> None:
    """P2: said when the file is opened, not met later."""
    path = tmp_path / "queue"
    QueueFile(path, server=URL, run_id=RUN, user_id="ann").close()
    with path.open("a") as file:
        if isinstance(line["add"], str):
            line = {"crc32": zlib.crc32(line["add"].encode())} | line
        file.write(json.dumps(line) + "\n")
    with pytest.raises(errors.StorageBlocked, match="line 2 is damaged"):
        QueueFile(path, server=URL, run_id=RUN, user_id="ann")
