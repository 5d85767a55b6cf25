"""The queue file keeps what was accepted, in order, and refuses loudly what it cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from collabd.client import Settings, errors, open_run
from collabd.client.engine import Surroundings
from collabd.client.messages import encode_message
from collabd.client.outbox import Outgoing
from collabd.client.queue_file import QueueFile
from tests.client.conftest import RUN, URL
from tests.client.fake_server import FakeServer, fake_server


def opened(path: Path, **other: str) -> QueueFile:
    """The queue file of one place."""
    return QueueFile(path, **({"server": URL, "run_id": RUN, "user_id": "ann"} | other))


def message(number: int, data: object = "ü\n") -> Outgoing:
    """A message named m1, m2, …"""
    return Outgoing(f"m{number}", "FLAG", encode_message("FLAG", data, f"m{number}"))


async def test_messages_come_back_in_order_with_the_same_text_and_attempts(tmp_path: Path) -> None:
    """R23: byte for byte, or the server would call it other content."""
    path = tmp_path / "queue"
    queue = opened(path)
    messages = [message(number) for number in range(3)]
    for one in messages:
        queue.add(one, messages)
    assert [one.durable for one in messages] == [False] * 3
    assert await queue.flush(messages) == []
    assert [one.durable for one in messages] == [True] * 3
    messages[0].attempts = 2
    queue.note_attempts(messages[0])
    queue.note_final(messages[1], [])
    queue.close()
    kept = opened(path).kept
    assert [(one.client_message_id, one.text, one.attempts) for one in kept] == [
        ("m0", messages[0].text, 2),
        ("m2", messages[2].text, 0),
    ]
    assert all(one.durable for one in kept)


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    """P2: a message whose line is not whole was never sent."""
    path = tmp_path / "queue"
    queue = opened(path)
    for number in range(2):
        queue.add(message(number), [])
    queue.close()
    whole = path.read_bytes()
    for cut in range(1, whole.index(b"m1")):
        path.write_bytes(whole[:-cut] if cut < len(whole.splitlines()[-1]) else whole[: whole.rindex(b'{"add"') + 5])
        kept = opened(path)
        assert [one.client_message_id for one in kept.kept] == ["m0"]
        kept.close()


@pytest.mark.parametrize("damage", [b"\0\0\0\n", b"{}\n", b'{"add":"x","attempts":0}\n', b"[]\n", b"1\n"])
def test_damage_in_the_middle_is_refused_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    """P2: what cannot be understood is never thrown away."""
    path = tmp_path / "queue"
    queue = opened(path)
    queue.add(message(0), [])
    queue.close()
    content = path.read_bytes() + damage
    path.write_bytes(content)
    with pytest.raises(errors.StorageBlocked, match="line 3 is damaged; move the file away"):
        opened(path)
    assert path.read_bytes() == content


def test_a_text_that_was_changed_on_the_disk_is_damage_though_it_is_json(tmp_path: Path) -> None:
    """P2: a message goes out as it was accepted, or not at all."""
    path = tmp_path / "queue"
    queue = opened(path)
    queue.add(message(0, "paid 100"), [])
    queue.close()
    path.write_bytes(path.read_bytes().replace(b"paid 100", b"paid 900"))
    with pytest.raises(errors.StorageBlocked, match="line 2 is damaged"):
        opened(path)


@pytest.mark.parametrize("content", [b"hello", b"hello\n", b"\x89PNG\r\n\x1a\n", b'{"format":"other"}\n'])
def test_a_file_of_something_else_is_never_overwritten(tmp_path: Path, content: bytes) -> None:
    """R32: a mistyped path costs nothing."""
    path = tmp_path / "precious"
    path.write_bytes(content)
    with pytest.raises(errors.StorageBlocked):
        opened(path)
    assert path.read_bytes() == content


def test_a_queue_belongs_to_one_server_run_and_user(tmp_path: Path) -> None:
    """R23: and is never sent under another."""
    path = tmp_path / "queue"
    opened(path).close()
    for other in ({"server": "http://x"}, {"run_id": "r"}, {"user_id": "bob"}):
        with pytest.raises(errors.StorageBlocked, match="belongs to"):
            opened(path, **other)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """S5: the second is refused; when the first is gone it may."""
    path = tmp_path / "queue"
    first = opened(path)
    with pytest.raises(errors.StorageBlocked, match="another process"):
        opened(path)
    first.close()
    opened(path).close()


def test_a_place_that_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    """R32: never silently memory."""
    with pytest.raises(errors.StorageBlocked, match="choose a place"):
        opened(tmp_path / "missing" / "queue")
    (tmp_path / "dir").mkdir()
    with pytest.raises(errors.StorageBlocked, match="cannot be read"):
        opened(tmp_path / "dir")


def test_a_full_disk_refuses_the_message_and_keeps_the_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R32: half a line written is taken back."""
    path = tmp_path / "queue"
    queue = opened(path)
    queue.add(message(0), [])
    really_write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: really_write(fd, data[:5]))
    with pytest.raises(errors.StorageBlocked, match="no space left"):
        queue.add(message(1), [])
    queue.note_final(message(0), [])
    monkeypatch.undo()
    queue.add(message(2), [])
    queue.close()
    assert [one.client_message_id for one in opened(path).kept] == ["m0", "m2"]


def test_history_is_thrown_away_when_there_is_much_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P2: a queue that is never empty does not grow for ever."""
    monkeypatch.setattr("collabd.client.queue_file._REWRITE_ABOVE_BYTES", 5000)
    path = tmp_path / "queue"
    queue = opened(path)
    last = message(0)
    for number in range(1, 200):
        done, last = last, message(number)
        queue.add(last, [])
        queue.note_final(done, [last])
        assert path.stat().st_size < 6000
    queue.close()
    assert [one.client_message_id for one in opened(path).kept] == ["m199"]


async def test_what_cannot_be_made_durable_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R23: a message whose fsync fails is not sent, and whoever waits is told."""

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    async with fake_server() as server:
        surroundings = Surroundings(dial=server.dial)
        async with open_run(URL, RUN, user_id="ann", queue_file=tmp_path / "q", surroundings=surroundings) as run:
            monkeypatch.setattr(os, "fsync", broken)
            with pytest.raises(errors.MessageRejected, match="storage_blocked"):
                await run.send_flag("s", "n")
            monkeypatch.undo()
        assert server.log == []


class _Crash(Exception):
    """The process is gone."""


async def _send_and_crash(server: FakeServer, path: Path, count: int) -> list[str]:
    ids: list[str] = []
    settings = Settings(leave_timeout_s=0.01)
    surroundings = Surroundings(dial=server.dial)
    with pytest.raises(_Crash):
        async with open_run(
            URL, RUN, user_id="ann", queue_file=path, settings=settings, surroundings=surroundings
        ) as run:
            ids += [run.send_nowait("FLAG", number).client_message_id for number in range(count)]
            with trio.fail_after(10):
                while len(server.log) < count:  # noqa: ASYNC110, fsync is on a thread: no virtual clock here
                    await trio.sleep(0.001)
            raise _Crash
    return ids


async def test_after_a_crash_the_same_messages_go_out_under_the_same_ids(tmp_path: Path) -> None:
    """R23, S6: those that were committed, unknown to us, are not doubled."""
    path = tmp_path / "queue"
    async with fake_server() as server:
        server.swallow_acks = True
        ids = await _send_and_crash(server, path, 5)
        assert server.ids() == ids
        del server.log[3:]
        server.swallow_acks = False
        surroundings = Surroundings(dial=server.dial)
        async with open_run(URL, RUN, user_id="ann", queue_file=path, surroundings=surroundings) as run:
            assert run.health.storage == "durable"
            with trio.fail_after(5):
                while run.queued_message_count:
                    await run.wait_changed()
        assert server.ids() == ids
    assert opened(path).kept == []


async def test_leaving_with_a_queue_file_keeps_what_is_left(tmp_path: Path) -> None:
    """R34: no error, the next process sends it; who waits is told."""
    path = tmp_path / "queue"
    async with fake_server() as server:
        server.swallow_acks = True
        surroundings = Surroundings(dial=server.dial)
        settings = Settings(leave_timeout_s=0.02)
        async with open_run(
            URL, RUN, user_id="ann", queue_file=path, settings=settings, surroundings=surroundings
        ) as run:
            left = run.send_nowait("FLAG", 1)
        with pytest.raises(errors.RunClosed):
            await left.wait_committed()
    assert [one.client_message_id for one in opened(path).kept] == [left.client_message_id]
