"""An HTTP connection that waits for its next request is closed in time, and never while it is at one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from collabd.gateway.idle_timer import IdleTimer

KEEP_ALIVE_S = 60.0


class Watched:
    """A timer at work: when it closed its connection, if it did, and the server's end."""

    def __init__(self) -> None:
        self.timer = IdleTimer(KEEP_ALIVE_S, self._close)
        self.server_ended = trio.Event()
        self.closed_at: float | None = None

    async def _close(self) -> None:
        self.closed_at = trio.current_time()


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    """A connection that was opened now."""
    connection = Watched()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.timer.run, connection.server_ended)
        yield connection
        connection.timer.stop()


async def test_a_connection_that_never_asks_is_closed_after_the_time(autojump_clock: MockClock) -> None:
    """It counts from the beginning."""
    async with watched() as connection:
        begun = trio.current_time()
        await trio.sleep(2 * KEEP_ALIVE_S)
        assert connection.closed_at == begun + KEEP_ALIVE_S


async def test_the_time_counts_from_the_end_of_the_last_request(autojump_clock: MockClock) -> None:
    """A request that begins and ends unseen by the sleeping timer puts the end off all the same."""
    async with watched() as connection:
        await trio.sleep(50)
        connection.timer.note(idle=False)
        connection.timer.note(idle=True)
        last = trio.current_time()
        await trio.sleep(3 * KEEP_ALIVE_S)
        assert connection.closed_at == last + KEEP_ALIVE_S


async def test_a_request_of_any_length_is_not_cut(autojump_clock: MockClock) -> None:
    """The time counts from its end, however long it took."""
    async with watched() as connection:
        connection.timer.note(idle=False)
        await trio.sleep(10.5 * KEEP_ALIVE_S)
        assert connection.closed_at is None
        connection.timer.note(idle=True)
        ended = trio.current_time()
        await trio.sleep(2 * KEEP_ALIVE_S)
        assert connection.closed_at == ended + KEEP_ALIVE_S


async def test_at_the_servers_end_an_idle_connection_is_closed_at_once(autojump_clock: MockClock) -> None:
    """Nobody waits for a request that may never come."""
    async with watched() as connection:
        await trio.sleep(1)
        connection.server_ended.set()
        await wait_all_tasks_blocked()
        assert connection.closed_at == trio.current_time()


async def test_at_the_servers_end_a_busy_connection_is_closed_after_its_answer(autojump_clock: MockClock) -> None:
    """It gets its answer first."""
    async with watched() as connection:
        connection.timer.note(idle=False)
        connection.server_ended.set()
        await trio.sleep(5)
        assert connection.closed_at is None
        connection.timer.note(idle=True)
        await wait_all_tasks_blocked()
        assert connection.closed_at == trio.current_time()


async def test_a_stopped_timer_closes_nothing(autojump_clock: MockClock) -> None:
    """The client left by itself."""
    async with watched() as connection:
        connection.timer.stop()
        await trio.sleep(2 * KEEP_ALIVE_S)
        assert connection.closed_at is None
