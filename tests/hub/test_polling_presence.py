"""How long one who polls is present: until its next poll is overdue, and for the grace time after that."""

from __future__ import annotations

import trio

from collabd.hub.attendance import Attendance
from collabd.hub.hub import Hub
from tests.hub.support import RUN, come, running_hub, settle

GRACE_S = 15.0


async def an_empty_run(hub: Hub) -> Attendance:
    """The attendance of a run that nobody is in."""
    run = await hub.open_run(RUN, create=True)
    assert run is not None
    return run.attendance


async def test_one_who_polls_again_in_time_never_leaves(autojump_clock: trio.abc.Clock) -> None:
    """Each poll puts the end off, and only the last one counts."""
    async with running_hub() as hub:
        attendance = await an_empty_run(hub)
        session = attendance.session_for(None, "bob", "polling")
        for _ in range(20):
            attendance.polled(session, 2)
            await trio.sleep(2)
        assert attendance.presence.users() == ["bob"]
        await trio.sleep(GRACE_S - 0.1)
        assert attendance.presence.users() == ["bob"]
        await trio.sleep(0.2)
        assert attendance.presence.users() == []


async def test_a_poll_that_waits_long_hides_no_shorter_one(autojump_clock: trio.abc.Clock) -> None:
    """The end that is due first is seen first, whoever came first."""
    async with running_hub() as hub:
        attendance = await an_empty_run(hub)
        attendance.polled(attendance.session_for(None, "bob", "polling"), 30)
        await settle()
        attendance.polled(attendance.session_for(None, "cat", "polling"), 2)
        await trio.sleep(2 + GRACE_S + 0.1)
        assert attendance.presence.users() == ["bob"]
        await trio.sleep(28)
        assert attendance.presence.users() == []


async def test_a_lost_connection_beside_pollers_is_seen_in_time(autojump_clock: trio.abc.Clock) -> None:
    """The grace time of a WebSocket ends before a long poll does."""
    async with running_hub() as hub:
        dan, attendance = await come(hub, "dan"), hub.runs[RUN].attendance
        attendance.polled(attendance.session_for(None, "bob", "polling"), 30)
        await settle()
        dan.leave()
        await trio.sleep(GRACE_S + 0.1)
        assert attendance.presence.users() == ["bob"]
