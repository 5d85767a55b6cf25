"""What is told while sockets are read is written in the same turn, as far as that keeps nobody waiting."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from collabd.hub import fanout
from collabd.hub.backlog import Backlog
from collabd.hub.hub import Hub
from collabd.protocol import close_codes
from tests.hub.support import RUN, FakeClient, come, running_hub, settle

OTHER_RUN = "00000000-0000-4000-8000-00000000beef"


SMALL = 4


def make_rooms_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a handful of members be a large room."""
    monkeypatch.setattr(fanout, "SLICE", SMALL)


def moves(client: FakeClient) -> list[Any]:
    """The cursor moves that a client was told of."""
    return [message["data"] for message in client.of_type("CURSOR_MOVE")]


async def a_room_written_in_part(hub: Hub) -> list[FakeClient]:
    """Members of four slices; those of the first have been told a cursor move, those of the fourth have not yet."""
    clients = [await come(hub, f"u{number}") for number in range(4 * SMALL)]
    await settle()
    clients[0].send("CURSOR_MOVE", 1)
    while not moves(clients[0]):
        await trio.lowlevel.checkpoint()
    assert [moves(client) for client in clients[-SMALL:]] == [[]] * SMALL
    return clients


async def test_what_one_turn_reads_is_written_before_it_ends_and_in_one_piece(autojump_clock: trio.abc.Clock) -> None:
    """Of every run that had something to tell; the ACK comes with it."""
    async with running_hub() as hub:
        ann, bob = await come(hub, "ann"), await come(hub, "bob")
        cat = await come(hub, "cat", run=OTHER_RUN)
        await settle()
        before = len(bob.link.writes)

        def read() -> None:
            ann.send("CURSOR_MOVE", 1, "m1")
            cat.send("CURSOR_MOVE", 2)
            ann.send("CURSOR_MOVE", 3)
            assert len(bob.link.writes) == before

        hub.tick.gather(read)
        assert (moves(bob), moves(cat), moves(ann)) == ([1, 3], [2], [1, 3])
        assert len(ann.of_type("ACK")) == len(bob.link.writes) - before == 1
        await settle()
        assert moves(bob) == [1, 3]


async def test_who_comes_in_the_same_turn_is_told_what_came_after_it(autojump_clock: trio.abc.Clock) -> None:
    """Not what came before: its WELCOME has that already."""
    async with running_hub() as hub:
        ann = await come(hub, "ann")
        await settle()
        ann.send("CURSOR_MOVE", 1)
        bob = await come(hub, "bob")
        hub.tick.gather(lambda: ann.send("CURSOR_MOVE", 2))
        await settle()
        assert (moves(ann), moves(bob)) == ([1, 2], [2])


async def test_a_room_too_large_for_one_turn_is_left_to_its_task(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have a turn in between; everybody gets it once all the same."""
    make_rooms_small(monkeypatch)
    async with running_hub() as hub:
        clients = [await come(hub, f"u{number}") for number in range(SMALL + 1)]
        small = await come(hub, "cat", run=OTHER_RUN)
        await settle()

        def read() -> None:
            clients[0].send("CURSOR_MOVE", 1)
            small.send("CURSOR_MOVE", 2)

        hub.tick.gather(read)
        assert ([moves(client) for client in clients], moves(small)) == ([[]] * len(clients), [2])
        await settle()
        assert [moves(client) for client in clients] == [[1]] * len(clients)


async def test_who_is_told_much_counts_as_several(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few members and megabytes hold others up as long as many members do, so they get turns in between too."""
    make_rooms_small(monkeypatch)
    monkeypatch.setattr(fanout, "_SHARE_BYTES", 500)
    slices: list[int] = []
    send_to_each = fanout.FanOut._send_to_each

    def watched(self: fanout.FanOut, sends: list[Any], told: Any, members: Any) -> None:
        slices.append(len(sends))
        send_to_each(self, sends, told, members)

    async with running_hub() as hub:
        clients = [await come(hub, f"u{number}") for number in range(SMALL)]
        await settle()
        monkeypatch.setattr(fanout.FanOut, "_send_to_each", watched)
        hub.tick.gather(lambda: clients[0].send("CURSOR_MOVE", 1))
        assert slices == [SMALL]
        hub.tick.gather(lambda: clients[0].send("CURSOR_MOVE", "x" * 1_000))
        assert slices == [SMALL]
        await settle()
        assert slices == [SMALL, SMALL // 2, SMALL // 2]
        assert [len(moves(client)) for client in clients] == [2] * SMALL


async def test_what_comes_just_before_a_large_room_is_written_comes_along(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write to each of many members is worth waiting for a turn."""
    make_rooms_small(monkeypatch)
    async with running_hub() as hub:
        clients = [await come(hub, f"u{number}") for number in range(SMALL + 1)]
        await settle()
        for _ in range(10):  # Trio runs what is ready in any order
            before = [len(client.link.writes) for client in clients]
            hub.tick.gather(lambda: clients[0].send("CURSOR_MOVE", 1))
            await trio.lowlevel.checkpoint()
            hub.tick.gather(lambda: clients[1].send("CURSOR_MOVE", 2))
            await settle()
            assert [len(client.link.writes) for client in clients] == [count + 1 for count in before]
        assert [moves(client) for client in clients] == [[1, 2] * 10] * len(clients)


async def test_what_comes_while_a_large_room_is_written_comes_after_it(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told the second before the first, though the room is small by then."""
    make_rooms_small(monkeypatch)
    async with running_hub() as hub:
        clients = await a_room_written_in_part(hub)
        left, staying = clients[:-SMALL], clients[-SMALL:]
        for client in left:
            client.leave()
        hub.tick.gather(lambda: staying[0].send("CURSOR_MOVE", 2))
        await settle()
        assert [moves(client) for client in staying] == [[1, 2]] * len(staying)


async def test_who_is_said_goodbye_while_a_large_room_is_written_gets_the_tick_first(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the tick was written to it already or not; nobody gets it twice."""
    make_rooms_small(monkeypatch)
    async with running_hub() as hub:
        clients = await a_room_written_in_part(hub)
        hub._say_goodbye(hub.runs[RUN])
        await settle()
        for client in clients:
            client.link.received += b"".join(client.connection.private)  # as the gateway does when it ends a connection
        told = [[message["eventType"] for message in client.messages()][-2:] for client in clients]
        assert told == [["CURSOR_MOVE", "DRAIN"]] * len(clients)
        assert [moves(client) for client in clients] == [[1]] * len(clients)


async def test_a_fault_in_one_run_ends_that_run_only(
    autojump_clock: trio.abc.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever read for all goes on, and the faulty run's clients come back to a new one."""
    async with running_hub() as hub:
        ann, cat = await come(hub, "ann"), await come(hub, "cat", run=OTHER_RUN)
        await settle()
        faulty = hub.runs[RUN].fanout._backlog
        check_bounds = Backlog.check_bounds
        failed: list[bool] = []

        def fail(checked: Backlog) -> None:
            if checked is faulty and not failed:
                failed.append(True)
                raise RuntimeError("a fault of ours")
            check_bounds(checked)

        monkeypatch.setattr(Backlog, "check_bounds", fail)

        def read() -> None:
            ann.send("CURSOR_MOVE", 1)
            cat.send("CURSOR_MOVE", 2)

        hub.tick.gather(read)
        await settle()
        assert moves(cat) == [2]
        assert ann.connection.close_code == close_codes.SERVER_FAULT
        assert RUN not in hub.runs
        assert hub.runs[OTHER_RUN].fanout is cat.connection.session.run.fanout
