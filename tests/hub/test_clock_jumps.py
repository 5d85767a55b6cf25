"""The wall clock jumps by hours under a running hub; only what shows a time of day may notice."""

from __future__ import annotations

import trio

from tests.hub.support import come, running_hub, settle

HOUR_MS = 3_600_000


async def test_numbers_duplicates_presence_and_deadlines_do_not_mind_a_clock_that_jumps(
    autojump_clock: trio.abc.Clock,
) -> None:
    """Hours forward and back: numbers go on, nobody is closed or leaves early, a grace time is as long as ever."""
    async with running_hub(presence={"grace_s": 15}, websocket={"heartbeat_interval_s": 10}) as hub:
        off = 0
        hub.now_ms = lambda: int(trio.current_time() * 1000) + off
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        for number, hours in enumerate((0, 30, -30, 5), 1):
            off = hours * HOUR_MS
            ann.send("GRAFT", number, f"m{number}")
            ann.send("GRAFT", 1, "m1")
            ann.send("PING", {})
            await settle()
            assert abs(ann.of_type("PONG")[-1]["data"]["serverTime"] - off) < HOUR_MS  # the clock did jump
        assert bob.numbers() == [1, 2, 3, 4]
        assert [ack["data"]["duplicate"] for ack in ann.of_type("ACK")] == [False, True] * 4
        assert ann.connection.close_code is bob.connection.close_code is None
        bob.leave()
        gone = trio.current_time()
        for hours in (-40, 40):  # neither ends the grace time, nor keeps it from ending
            off = hours * HOUR_MS
            await trio.sleep(7)
            assert ann.of_type("USER_LEAVE") == []
        await trio.sleep_until(gone + 15.1)
        assert [leave["data"]["reason"] for leave in ann.of_type("USER_LEAVE")] == ["timeout"]
