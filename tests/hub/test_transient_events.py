"""Transient events under pressure: a slow receiver may miss some, but never the newest of its kind."""

from __future__ import annotations

from random import Random

import pytest
import trio

from collabd.hub import fanout
from tests.hub.support import FakeClient, come, running_hub, settle


def moves(client: FakeClient) -> list[int]:
    """What the client was told of cursors, in order."""
    return [event["data"] for event in client.of_type("CURSOR_MOVE")]


@pytest.mark.parametrize("seed", range(8))
async def test_the_newest_of_each_kind_arrives_whenever_a_socket_drains(
    autojump_clock: trio.abc.Clock, seed: int
) -> None:
    """Also when it drains in the very tick in which the event is told."""
    random = Random(seed)
    async with running_hub(websocket={"outbox_max_bytes": 1 << 30}) as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        await settle()
        for number in range(120):
            bob.link.room = random.choice([0, 0, 30, 300])
            ann.send("CURSOR_MOVE", number)
            if random.random() < 0.3:
                await settle()
            if random.random() < 0.3:
                bob.link.give_room(random.choice([100, 1 << 30]))
            if random.random() < 0.3:
                ann.send("SHOUT", number)
        ann.send("CURSOR_MOVE", -1)
        bob.link.give_room(1 << 30)
        await settle()
        assert moves(ann)[-1] == moves(bob)[-1] == -1
        assert ann.of_type("SHOUT")[-1]["data"] == bob.of_type("SHOUT")[-1]["data"]
        told = moves(bob)[:-1]
        assert told == sorted(set(told))


async def test_a_member_that_falls_behind_in_a_large_room_misses_nothing_told_meanwhile(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a tick is being written to many, other tasks tell more; it is told to those who fall behind in it too."""
    monkeypatch.setattr(fanout, "SLICE", 1)
    async with running_hub() as hub:
        clients = [await come(hub, f"user{number}") for number in range(5)]
        await settle()
        last = clients[-1]
        last.link.room = 0
        clients[0].send("CURSOR_MOVE", 1)
        async with trio.open_nursery() as nursery:
            for number in range(2, 6):
                await trio.lowlevel.checkpoint()
                nursery.start_soon(_send_cursor, clients[0], number)
        await settle()
        last.link.give_room(1 << 30)
        await settle()
        assert moves(clients[0]) == [1, 2, 3, 4, 5]
        assert moves(last)[-1] == 5


async def _send_cursor(client: FakeClient, number: int) -> None:
    client.send("CURSOR_MOVE", number)


async def test_who_came_last_is_there_whatever_else_happened_in_the_tick(autojump_clock: trio.abc.Clock) -> None:
    """A slow receiver hears of coming and going in their order."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        await settle()
        ann.link.room = 0
        first = await come(hub, "ben")
        first.send("CURSOR_MOVE", 1)
        await settle()
        first.leave(1000)
        second = await come(hub, "ben")
        second.leave(1000)
        third = await come(hub, "ben")
        ann.link.give_room(1 << 30)
        await settle()
        presence = [m["eventType"] for m in ann.messages() if m["eventType"] in ("USER_JOIN", "USER_LEAVE")]
        assert presence[-1] == "USER_JOIN"
        assert third.welcome()["activeUsers"] == ["ann", "ben"]
