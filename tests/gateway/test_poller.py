"""The rules of reading many sockets with one task."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
import trio.testing

from collabd.gateway.plain_link import PlainLink
from collabd.gateway.plain_socket import _read
from collabd.gateway.poller import Poller
from collabd.gateway.reader import FrameReader
from collabd.hub.tick import Tick


class Peer:
    """Two ends of a connection, of which the poller watches one."""

    def __init__(self, poller: Poller) -> None:
        self.far, self.near = socket.socketpair()
        self.near.setblocking(False)
        self.received: list[bytes] = []
        self._poller = poller
        self._came = trio.Event()
        poller.watch(self.near, self._readable)

    def _readable(self, now: float) -> None:
        data = self.near.recv(4)
        if not data:
            self._poller.forget(self.near)
        self.received.append(data)
        self._came.set()
        self._came = trio.Event()

    async def wait_for(self, count: int) -> list[bytes]:
        """What was read, once that is so many pieces."""
        with trio.fail_after(5):
            while len(self.received) < count:
                await self._came.wait()
        return self.received

    def close(self) -> None:
        self._poller.forget(self.near)
        self.far.close()
        self.near.close()


async def no_pause() -> None:
    """Nothing is behind."""


@asynccontextmanager
async def running(poller: Poller, pause: Callable[[], Awaitable[None]] = no_pause) -> AsyncIterator[None]:
    """The poller at work for the length of a block."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run, Tick(), pause)
        yield
        nursery.cancel_scope.cancel()


async def test_what_is_left_unread_is_told_again() -> None:
    """A reader takes one piece a turn, and gets them all."""
    poller = Poller()
    peer = Peer(poller)
    async with running(poller):
        peer.far.sendall(b"0123456789")
        assert await peer.wait_for(3) == [b"0123", b"4567", b"89"]
    peer.close()


async def test_the_end_of_a_peer_is_told_once() -> None:
    """Whoever is forgotten at the end is not called for it again and again."""
    poller = Poller()
    peer, other = Peer(poller), Peer(poller)
    async with running(poller):
        peer.far.close()
        await peer.wait_for(1)
        other.far.sendall(b"hi")
        await other.wait_for(1)
        assert peer.received == [b""]
    peer.close()
    other.close()


async def test_a_socket_forgotten_in_the_same_round_is_not_called() -> None:
    """One reader may end another; what epoll said of it a moment before is void."""
    poller = Poller()
    first, second = socket.socketpair(), socket.socketpair()
    called: list[str] = []

    def end_both(name: str) -> None:
        called.append(name)
        poller.forget(first[0])
        poller.forget(second[0])

    poller.watch(first[0], lambda now: end_both("first"))
    poller.watch(second[0], lambda now: end_both("second"))
    first[1].sendall(b"x")
    second[1].sendall(b"x")
    async with running(poller):
        with trio.fail_after(5):
            while not called:
                await trio.lowlevel.checkpoint()
        for _ in range(5):
            await trio.lowlevel.checkpoint()
    assert len(called) == 1
    for sock in (*first, *second):
        sock.close()


async def test_nobody_is_read_while_readers_pause() -> None:
    """Backpressure: what is not read waits at its sender."""
    poller = Poller()
    peer = Peer(poller)
    go_on = trio.Event()
    async with running(poller, go_on.wait):
        peer.far.sendall(b"0123")
        await peer.wait_for(1)
        peer.far.sendall(b"4567")
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        assert len(peer.received) == 1
        go_on.set()
        await peer.wait_for(2)
    peer.close()


async def test_a_fault_on_one_connection_is_raised_by_its_own_task_and_nowhere_else() -> None:
    """The others are read on."""

    class FaultyReader:
        def feed(self, data: bytes, now: float) -> bool:
            raise RuntimeError("a fault of ours")

    poller = Poller()
    peer = Peer(poller)
    far, near = socket.socketpair()
    near.setblocking(False)
    async with running(poller):
        far.sendall(b"x")
        with pytest.raises(RuntimeError, match="a fault of ours"), trio.fail_after(5):
            await _read(poller, near, PlainLink(near, ""), cast(FrameReader, FaultyReader()), b"")
        peer.far.sendall(b"hi")
        await peer.wait_for(1)
    peer.close()
    far.close()
    near.close()


async def test_what_comes_while_others_are_read_is_read_in_the_same_turn(mock_clock: trio.testing.MockClock) -> None:
    """So that it is told with them: a turn of one message would cost every member a write."""
    poller = Poller()
    peer, turns = Peer(poller), 0

    async def count_turn() -> None:
        nonlocal turns
        turns += 1

    async with running(poller, count_turn):
        peer.far.sendall(b"0123456789")
        await peer.wait_for(3)
        await trio.testing.wait_all_tasks_blocked()
    assert turns == 1
    peer.close()


async def test_a_flood_is_not_waited_out(mock_clock: trio.testing.MockClock) -> None:
    """After a millisecond everybody else has a turn."""
    poller = Poller()
    peer, turns = Peer(poller), 0
    read = peer._readable

    def slowly(now: float) -> None:
        mock_clock.jump(0.0007)
        read(now)

    poller.forget(peer.near)
    poller.watch(peer.near, slowly)

    async def count_turn() -> None:
        nonlocal turns
        turns += 1

    async with running(poller, count_turn):
        peer.far.sendall(b"0123" * 6)
        await peer.wait_for(6)
        await trio.testing.wait_all_tasks_blocked()
    assert turns == 3
    peer.close()
