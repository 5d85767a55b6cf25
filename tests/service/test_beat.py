"""The sign of life: given at half of the watchdog's time, and only while the log's writer answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio

from collabd.config import Config
from collabd.errors import StorageFailed
from collabd.hub.hub import Hub
from collabd.service.beat import status_of, telling
from collabd.service.notify import ServiceManager
from collabd.store.memory import MemoryStore
from collabd.store.sqlite import open_store


class ProbedStore(MemoryStore):
    """A store whose writer may stand still or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = trio.Event()
        self.stuck.set()
        self.failure: Exception | None = None

    async def probe(self) -> None:
        await self.stuck.wait()
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def heard(tmp_path: Path) -> socket.socket:
    """The manager's end."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(tmp_path / "notify"))
    sock.setblocking(False)
    return sock


def messages(heard: socket.socket) -> list[str]:
    """All that was told since last asked."""
    found = []
    while True:
        try:
            found.append(heard.recv(1000).decode())
        except BlockingIOError:
            return found


def manager_of(heard: socket.socket, watchdog_s: float) -> ServiceManager:
    """The manager as the daemon knows it."""
    return ServiceManager(heard.getsockname(), watchdog_s)


async def test_it_is_given_at_half_of_the_time(heard: socket.socket, autojump_clock: trio.testing.MockClock) -> None:
    """At once, then every 30 s of 60."""
    hub = Hub(Config(), ProbedStore())
    async with telling(manager_of(heard, 60), hub):
        await trio.sleep(100)
    assert messages(heard).count("WATCHDOG=1") == 4


async def test_a_writer_that_stands_still_is_not_alive(
    heard: socket.socket, autojump_clock: trio.testing.MockClock
) -> None:
    """Though the event loop turns; it is again when it answers again."""
    store = ProbedStore()
    hub = Hub(Config(), store)
    async with telling(manager_of(heard, 60), hub):
        await trio.sleep(10)
        messages(heard)
        store.stuck = trio.Event()
        await trio.sleep(1000)
        assert "WATCHDOG=1" not in messages(heard)
        store.stuck.set()
        await trio.sleep(1)
        assert "WATCHDOG=1" in messages(heard)


async def test_without_a_watchdog_none_is_fed(heard: socket.socket, autojump_clock: trio.testing.MockClock) -> None:
    """Only the status is told, and only when it changes."""
    hub = Hub(Config(), ProbedStore())
    async with telling(manager_of(heard, 0), hub):
        await trio.sleep(100)
        hub.connection_count = 1
        await trio.sleep(100)
    assert messages(heard) == ["STATUS=serving 0 sessions in 0 runs", "STATUS=serving 1 session in 0 runs"]


async def test_a_log_that_failed_ends_the_daemon(heard: socket.socket, autojump_clock: trio.testing.MockClock) -> None:
    """Whoever looks after it starts it again."""
    store = ProbedStore()
    store.failure = StorageFailed("the disk lies")
    with pytest.raises(ExceptionGroup) as group:
        async with telling(manager_of(heard, 60), Hub(Config(), store)):
            await trio.sleep(100)
    assert group.group_contains(StorageFailed)


async def test_the_status_says_that_the_disk_refuses(autojump_clock: trio.testing.MockClock) -> None:
    """What `systemctl status` shows first."""
    hub = Hub(Config(), ProbedStore())
    hub.committer.storage_error = "full"
    hub.connection_count, hub.polling_count = 3, 2
    assert status_of(hub) == "serving 5 sessions (2 polling) in 0 runs; the disk refuses writes"


async def test_the_writer_answers_between_commits(tmp_path: Path) -> None:
    """The real one, on its own thread."""
    async with open_store(tmp_path / "data") as store:
        with trio.fail_after(60):
            await store.probe()
