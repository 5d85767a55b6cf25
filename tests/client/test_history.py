"""Holes, resets and slow readers, under a virtual clock."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from collabd.client import Reset
from collabd.client.inbox import Inbox
from collabd.client.pulse import Pulse
from collabd.client.settings import WAITING_EVENTS
from tests.client.building import event
from tests.client.conftest import Opener
from tests.client.fake_server import fake_server
from tests.client.waiting import take


async def test_a_hole_is_repaired_through_replay_before_anything_after_it(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R64, R65."""
    async with fake_server() as server, opened(server) as run:
        await server.publish()
        server.commit("FLAG", "unseen")
        await server.publish()
        assert await take(run, 3) == [1, 2, 3]
        assert [target for _, target in server.asked("GET", "/replay?")] == [
            f"/api/runs/{run.run_id}/collaboration/replay?fromSequence=2&limit=1000"
        ]


async def test_a_replaced_history_is_one_reset_with_the_new_state(autojump_clock: MockClock, opened: Opener) -> None:
    """R62, R63, S11."""
    async with fake_server() as server, opened(server) as run:
        await server.publish()
        await take(run, 1)
        server.log, server.epoch = [], "e2"
        server.commit("GRAFT", "new")
        await server.peer.close(1001)
        (reset,) = await take(run, 1)
        assert isinstance(reset, Reset)
        assert (reset.reason, reset.epoch, [event.data for event in reset.events]) == ("epoch_changed", "e2", ["new"])
        await server.publish()
        assert await take(run, 1) == [2]


async def test_a_hole_whose_events_are_gone_is_a_reset(autojump_clock: MockClock, opened: Opener) -> None:
    """R66: the client joins anew at once."""
    async with fake_server() as server, opened(server) as run:
        for _ in range(3):
            server.commit("FLAG", 0)
        server.oldest = 3
        server.run_state = [server.log[0]]
        await server.publish()
        (reset,) = await take(run, 1)
        assert isinstance(reset, Reset)
        assert (reset.reason, [event.sequence_number for event in reset.events]) == ("trimmed", [1, 3, 4])


async def test_replay_that_fails_is_asked_again(autojump_clock: MockClock, opened: Opener) -> None:
    """R65."""
    async with fake_server() as server, opened(server) as run:
        server.refuse_http["replay"] = (500, {"code": "internal_error", "message": "no"}, {})
        server.commit("FLAG", 0)
        await server.publish()
        await trio.sleep(0.4)
        server.refuse_http.clear()
        assert await take(run, 2) == [1, 2]


async def test_an_application_that_does_not_read_costs_bounded_memory_and_misses_nothing(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """P1: its own messages are still answered, and what was not taken is fetched later."""
    total = WAITING_EVENTS + 500
    async with fake_server() as server, opened(server) as run:
        for number in range(total):
            await server.publish("FLAG", number)
        await run.send_flag("s", "n")
        assert run.position is not None
        assert run.position.sequence_number == WAITING_EVENTS
        assert await take(run, total + 1) == list(range(1, total + 2))


def test_a_reset_takes_the_place_of_what_nobody_read() -> None:
    """P1: after an overflow the old events are worth nothing; before one they are kept."""
    inbox, reset = Inbox(Pulse()), Reset("trimmed", "e1", 9, ())
    inbox.put([event(1), reset])
    assert inbox.room == WAITING_EVENTS - 2
    inbox.put(event(number) for number in range(WAITING_EVENTS))
    inbox.put([reset])
    assert inbox.room == WAITING_EVENTS - 1
