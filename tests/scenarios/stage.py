"""The real server behind the fault proxy, with clients whose time runs faster.

Law of this file: what every scenario needs, and the one judgement that follows each of them: every message committed
exactly once, in its sender's order, every receiver's view gapless.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from collabd.client import Event, Message, Reset, Run, open_run
from tests.support.daemon import Daemon
from tests.support.fault_proxy import FaultProxy, open_fault_proxy

UNLIMITED = {"LIMITS__MESSAGES_PER_SECOND": "0", "LIMITS__BYTES_PER_SECOND": "0", "LOGGING__LEVEL": "error"}

PATIENCE_S = 400.0
"""Virtual seconds after which a scenario has failed; every bound of the rules is far below."""

QUIET_START_S = 1.2
"""A server that takes longer to start than this is on a busy machine."""


def pace(started_in_s: float, fastest: float) -> float:
    """How fast the clients' time may run: their five seconds for connecting must be enough for this machine.

    Measured by how long a server took to start, which is work of the same kind: a machine that is twice as busy gets
    twice the time, down to time as it is.
    """
    return max(1.0, fastest * min(1.0, QUIET_START_S / started_in_s))


class View:
    """What one application saw: numbers of persisted events since the last reset, and the resets."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.resets: list[Reset] = []

    async def collect(self, run: Run) -> None:
        """Read the run until it ends."""
        async for item in run:
            if isinstance(item, Reset):
                self.resets.append(item)
                self.numbers = [event.sequence_number for event in item.events if event.sequence_number is not None]
            elif isinstance(item, Event) and item.sequence_number is not None:
                self.numbers.append(item.sequence_number)


class Stage:
    """One run, one server, one proxy before it."""

    def __init__(self, data_dir: Path, proxy: FaultProxy, daemon: Daemon, nursery: trio.Nursery) -> None:
        self.run_id = str(uuid.uuid4())
        self.data_dir = data_dir
        self.proxy = proxy
        self.daemon = daemon
        self._nursery = nursery

    @property
    def url(self) -> str:
        """Where clients find the server: the proxy."""
        return f"http://127.0.0.1:{self.proxy.port}"

    def open(self, user: str, **options: Any) -> AbstractAsyncContextManager[Run]:
        """Open the run through the proxy."""
        return open_run(self.url, self.run_id, user_id=user, **options)

    def watch(self, run: Run) -> View:
        """Collect what an application sees from now on."""
        view = View()
        self._nursery.start_soon(view.collect, run)
        return view

    async def start_again(self, data_dir: Path | None = None) -> None:
        """Start the server again, on whatever port is free; the proxy leads there."""
        self.data_dir = data_dir or self.data_dir
        self.daemon = await started(self.data_dir)
        self.proxy.set_upstream(self.daemon.host, self.daemon.port)

    async def log(self) -> list[dict[str, Any]]:
        """The server's log, asked past the proxy."""
        return await trio.to_thread.run_sync(self.daemon.replay, self.run_id)

    async def judge(self, sent: Mapping[str, list[Message]], *views: View) -> list[dict[str, Any]]:
        """Every message committed exactly once, in its sender's order, every view gapless; answers the log."""
        for user, messages in sent.items():
            for message in messages:
                with trio.move_on_after(PATIENCE_S) as limit:
                    await message.wait_committed()
                assert not limit.cancelled_caught, f"{message.client_message_id} of {user} is {message.state}"
        log = await self.log()
        assert [event["sequenceNumber"] for event in log] == list(range(1, len(log) + 1))
        assert len(log) == sum(len(messages) for messages in sent.values())
        for user, messages in sent.items():
            committed = [event["clientMessageId"] for event in log if event["userId"] == user]
            assert committed == [message.client_message_id for message in messages]
        for view in views:
            await until(lambda view=view: len(view.numbers) >= len(log))
            assert view.numbers == list(range(1, len(log) + 1))
        return log


async def until(condition: Any) -> None:
    """Wait in virtual time for a condition about the real world, which rings no bell."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


async def started(data_dir: Path) -> Daemon:
    """A server; the virtual time of the test is slowed down where starting it shows a busy machine."""
    before = time.monotonic()
    daemon = await trio.to_thread.run_sync(Daemon, data_dir, UNLIMITED)
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, MockClock):
        clock.rate = pace(time.monotonic() - before, clock.rate)
    return daemon


@asynccontextmanager
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage for the length of a block."""
    data_dir = tmp_path / "data"
    daemon = await started(data_dir)
    stage = None
    try:
        async with open_fault_proxy(daemon.host, daemon.port) as proxy, trio.open_nursery() as nursery:
            stage = Stage(data_dir, proxy, daemon, nursery)
            yield stage
            nursery.cancel_scope.cancel()
    finally:
        last = daemon if stage is None else stage.daemon
        if last.process.poll() is None:
            last.kill()
