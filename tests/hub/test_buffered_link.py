"""A link over something that can only be awaited, when its peer takes nothing or is gone."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from collabd.hub.buffered_link import BufferedLink


async def _never(_: bytes) -> None:
    await trio.sleep_forever()


async def _broken(_: bytes) -> None:
    raise trio.BrokenResourceError


async def test_waiting_for_a_peer_that_takes_nothing_is_no_busy_loop() -> None:
    """After the hub has ended the connection too: until the goodbye's deadline everything sleeps."""
    link = BufferedLink("127.0.0.1", _never)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run_writer)
        link.send(b"x")
        link.end()
        nursery.start_soon(link.wait_written)
        with trio.fail_after(10):
            await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_peer_that_is_gone_ends_the_waiting() -> None:
    """Whoever waits to write is told at the next write, and the goodbye has nothing to wait for."""
    link = BufferedLink("127.0.0.1", _broken)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run_writer)
        link.send(b"x")
        with trio.fail_after(60):
            await link.wait_writable()
            await link.wait_written()
        with pytest.raises(BrokenPipeError):
            link.send(b"y")
        assert link.reading.cancel_called


async def test_what_is_on_its_way_is_written_before_the_goodbye() -> None:
    """`end` wakes, and drops nothing."""
    written: list[bytes] = []
    go = trio.Event()

    async def slow(data: bytes) -> None:
        await go.wait()
        written.append(data)

    link = BufferedLink("127.0.0.1", slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run_writer)
        link.send(b"last words")
        link.end()
        await wait_all_tasks_blocked()
        go.set()
        with trio.fail_after(60):
            await link.wait_written()
        assert written == [b"last words"]
        nursery.cancel_scope.cancel()
