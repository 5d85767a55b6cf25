"""An open run under a virtual clock: joining, sending, receiving, leaving."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from collabd.client import Run, errors
from tests.client.conftest import Opener
from tests.client.fake_server import fake_server
from tests.client.waiting import take, until


async def test_a_message_is_queued_then_sent_then_committed_and_comes_back_as_an_event(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R12: every state can be observed."""
    async with fake_server() as server, opened(server) as run:
        message = run.send_nowait("GRAFT", {"after": "A", "agentName": "b"})
        assert message.state == "queued"
        assert [state async for state in message.states()] == ["queued", "sent", "committed"]
        assert message.ack is not None
        assert message.ack.sequence_number == 1
        assert await take(run, 1) == [1]


async def test_the_named_senders_send_what_the_protocol_says(autojump_clock: MockClock, opened: Opener) -> None:
    """Graft, prune and flag carry their fields."""
    async with fake_server() as server, opened(server) as run:
        await run.send_graft("ARCHITECT", "scanner")
        await run.send_prune("s1", True)
        ack = await run.send_flag("s2", "why")
        assert ack.sequence_number == 3
        assert [event["data"] for event in server.log] == [
            {"after": "ARCHITECT", "agentName": "scanner"},
            {"stepId": "s1", "isPruned": True},
            {"stepId": "s2", "note": "why"},
        ]


async def test_a_cancelled_send_stops_waiting_and_the_message_is_still_sent(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """P1."""
    async with fake_server() as server, opened(server) as run:
        with trio.CancelScope() as scope:
            scope.cancel()
            await run.send_flag("s", "n")
        await until(run, lambda: run.queued_message_count == 0)
        assert len(server.log) == 1


async def test_leaving_waits_for_the_queue_and_says_goodbye(autojump_clock: MockClock, opened: Opener) -> None:
    """R34: what was sent is committed before the close, which is 1000."""
    async with fake_server() as server:
        async with opened(server) as run:
            run.send_nowait("FLAG", 1)
        assert len(server.log) == 1
        assert server.peer.socket.closed is not None
        assert server.peer.socket.closed.code == 1000


async def test_leaving_with_undelivered_messages_names_them(autojump_clock: MockClock, opened: Opener) -> None:
    """R34: never silently gone."""
    async with fake_server() as server:
        server.swallow_acks = True
        started = trio.current_time()
        with pytest.raises(errors.MessagesUndelivered) as caught:
            async with opened(server) as run:
                message = run.send_nowait("FLAG", 1)
        assert caught.value.client_message_ids == [message.client_message_id]
        assert message.state == "rejected"
        assert trio.current_time() - started < 8


async def test_an_error_in_the_block_comes_out_as_it_is_and_at_once(autojump_clock: MockClock, opened: Opener) -> None:
    """No exception group around the application's own error, no waiting for messages."""
    async with fake_server() as server:
        server.swallow_acks = True
        started = trio.current_time()
        with pytest.raises(ZeroDivisionError):
            async with opened(server) as run:
                run.send_nowait("FLAG", 1)
                raise ZeroDivisionError
        assert trio.current_time() - started <= 2


async def test_leaving_is_bounded_even_if_nothing_answers(autojump_clock: MockClock, opened: Opener) -> None:
    """R34: a dead network holds nobody."""
    async with fake_server() as server:
        async with opened(server):
            server.is_silent = True
            server.is_stalled = True
            started = trio.current_time()
        assert trio.current_time() - started <= 2


async def test_presence_and_cursors_are_ready_made(autojump_clock: MockClock, opened: Opener) -> None:
    """R83, R84: from WELCOME on, kept by events."""
    async with fake_server() as server:
        server.users, server.cursors = ["ann", "bob"], {"bob": {"nodeId": "n1"}}
        async with opened(server) as run:
            assert run.active_users == ("ann", "bob")
            await server.tell_all({"eventType": "USER_LEAVE", "data": {"userId": "bob"}, "isCritical": False})
            await until(run, lambda: list(run.active_users) == ["ann"])
            assert run.cursor_positions == {}
            await run.send_cursor_move("n2")
            await until(run, lambda: run.cursor_positions == {"ann": {"nodeId": "n2"}})


async def test_cursor_moves_go_out_at_most_every_50_ms_and_the_latest_wins(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R85."""
    async with fake_server() as server, opened(server) as run:
        for step in range(100):
            await run.send_cursor_move(f"n{step}")
            await trio.sleep(0.01)
        await trio.sleep(0.1)
        moves = server.peer.types("CURSOR_MOVE")
        assert 18 <= len(moves) <= 22
        assert moves[-1]["data"] == {"nodeId": "n99"}


async def test_leaving_while_the_server_is_away_ends_the_events_without_an_error(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R34: only giving up is an error to who reads."""
    items: list[object] = []
    async with fake_server() as server, trio.open_nursery() as nursery:

        async def read(run: Run) -> None:
            items.extend([item async for item in run])

        async with opened(server) as run:
            nursery.start_soon(read, run)
            server.is_down = True
            await server.peer.close(1001)
            await trio.sleep(20)
            assert run.problem is not None
    assert items == []
