"""The rules of presence, cursors and liveness, as the clients of a run see them."""

from __future__ import annotations

import trio

from collabd.hub.heartbeat import take_pong
from tests.hub.support import RUN, FakeClient, come, running_hub, settle


async def test_a_reload_is_neither_a_leave_nor_a_join(autojump_clock: trio.abc.Clock) -> None:
    """A user who comes back within the grace time never went."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        bob.leave()
        await trio.sleep(14)
        await come(hub, "bob")
        await trio.sleep(60)
        assert ann.of_type("USER_LEAVE") == []
        assert len(ann.of_type("USER_JOIN")) == 1


async def test_a_lost_user_leaves_after_the_grace_time(autojump_clock: trio.abc.Clock) -> None:
    """Without a goodbye, presence lasts presence.grace_s and no longer."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        bob.leave()
        await trio.sleep(14.9)
        assert ann.of_type("USER_LEAVE") == []
        await trio.sleep(0.2)
        (leave,) = ann.of_type("USER_LEAVE")
        assert leave["data"] == {
            "userId": "bob",
            "activeUserCount": 1,
            "activeUsers": ["ann"],
            "reason": "timeout",
        }


async def test_a_goodbye_is_a_leave_at_once(autojump_clock: trio.abc.Clock) -> None:
    """Close 1000 says that the user left."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        bob.leave(1000)
        await settle()
        assert ann.of_type("USER_LEAVE")[0]["data"]["reason"] == "left"


async def test_several_sessions_of_a_user_count_as_one(autojump_clock: trio.abc.Clock) -> None:
    """The others hear of a user's first session and of the last one's end, and of nothing between."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        tabs = [await come(hub, "bob") for _ in range(3)]
        for tab in tabs[:2]:
            tab.leave(1000)
        await settle()
        assert [len(ann.of_type(name)) for name in ("USER_JOIN", "USER_LEAVE")] == [1, 0]
        assert tabs[2].welcome()["activeUsers"] == ["ann", "bob"]
        tabs[2].leave(1000)
        await settle()
        assert len(ann.of_type("USER_LEAVE")) == 1


async def test_a_newcomer_is_not_told_of_its_own_coming(autojump_clock: trio.abc.Clock) -> None:
    """USER_JOIN is for the others; the newcomer stands in its own WELCOME."""
    async with running_hub() as hub:
        clients = [await come(hub, name) for name in ("ann", "bob", "cat")]
        await settle()
        assert [len(client.of_type("USER_JOIN")) for client in clients] == [2, 1, 0]
        assert clients[2].welcome()["activeUserCount"] == 3


async def test_a_large_run_tells_counts_instead_of_lists(autojump_clock: trio.abc.Clock) -> None:
    """Above 100 present users a USER_JOIN carries only how many there are; WELCOME is always whole."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        for number in range(100):
            last = await come(hub, f"user{number:03}")
        await settle()
        joins = ann.of_type("USER_JOIN")
        assert len(joins[98]["data"]["activeUsers"]) == 100
        assert joins[99]["data"] == {"userId": "user099", "activeUserCount": 101}
        assert len(last.welcome()["activeUsers"]) == 101


async def test_cursors_are_remembered_for_those_who_come_later(autojump_clock: trio.abc.Clock) -> None:
    """A present user's last CURSOR_MOVE stands in WELCOME, and goes with its user."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        ann.send("CURSOR_MOVE", {"nodeId": "a"})
        ann.send("CURSOR_MOVE", {"nodeId": "b"})
        bob = await come(hub, "bob")
        assert bob.welcome()["cursorPositions"] == {"ann": {"nodeId": "b"}}
        ann.leave(1000)
        cat = await come(hub, "cat")
        assert cat.welcome()["cursorPositions"] == {}


async def test_a_kicked_session_is_gone_at_once(autojump_clock: trio.abc.Clock) -> None:
    """An operator's word ends a session with 4403, and the others hear why its user left."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        session = bob.connection.session
        hub.runs[RUN].attendance.kick(session, "out")
        bob.leave()
        await settle()
        assert bob.connection.close_code == 4403
        assert ann.of_type("USER_LEAVE")[0]["data"]["reason"] == "kicked"
        assert hub.connection_count == 1


async def test_nobody_leaves_while_the_server_drains(autojump_clock: trio.abc.Clock) -> None:
    """A restart is no reason to tell everyone that everyone left."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.drain, 5)
            await settle()
            for client in (ann, bob):
                client.leave(1000)
        assert ann.of_type("USER_LEAVE") == []


async def test_a_silent_connection_is_ended_after_two_intervals(autojump_clock: trio.abc.Clock) -> None:
    """Without a byte for twice the heartbeat interval: 4000."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        await trio.sleep(19)
        assert not ann.link.ended
        await trio.sleep(11.1)
        assert ann.connection.close_code == 4000


async def test_a_connection_that_answers_lives_and_its_latency_is_measured(autojump_clock: trio.abc.Clock) -> None:
    """The server's own pings are the clock: the round trip is what the pong took."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        answered = 0
        for _ in range(1200):
            await trio.sleep(0.08)
            pings = ann.pings()
            if len(pings) > answered:
                # The ping left between two looks; this one answers it 80 ms after the next look.
                answered = len(pings)
                sent = ann.connection.ping_sent
                ann.connection.last_heard = trio.current_time()
                take_pong(ann.connection, pings[-1], sent + 0.08)
        latency = ann.connection.session.health.latency
        assert not ann.link.ended
        assert answered >= 9
        assert latency is not None
        assert abs((latency.percentile(0.5) or 0) - 80) < 4


async def test_pings_are_spread_over_the_interval(autojump_clock: trio.abc.Clock) -> None:
    """A hundred connections that came at once are not pinged at once."""
    async with running_hub() as hub:
        clients = [await come(hub, f"user{number}") for number in range(100)]
        await trio.sleep(5)
        pinged = sum(bool(client.pings()) for client in clients)
        assert 25 < pinged < 75


async def test_an_idle_run_leaves_memory_and_loses_nothing(autojump_clock: trio.abc.Clock) -> None:
    """Closed when nobody is there for runs.idle_close_s; the next to come finds everything."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        ann.send("GRAFT", {"after": "a"})
        await settle()
        ann.leave(1000)
        await trio.sleep(59)
        assert RUN in hub.runs
        await trio.sleep(10)
        assert RUN not in hub.runs
        assert hub.ring_budget.used == 0
        bob: FakeClient = await come(hub, "bob")
        assert bob.numbers() == [1]
