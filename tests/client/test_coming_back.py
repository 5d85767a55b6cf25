"""A connection that ends, goes silent or is drained, under a virtual clock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from collabd.client import errors
from tests.client.conftest import Opener, Wall
from tests.client.fake_server import fake_server
from tests.client.waiting import take, until, until_sent


async def test_after_a_lost_connection_the_run_resumes_from_its_position(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R41, R61: same session, nothing missed, nothing doubled."""
    async with fake_server() as server, opened(server) as run:
        await server.publish()
        assert await take(run, 1) == [1]
        server.commit("FLAG", 2)
        await server.peer.close(1001)
        assert await take(run, 1) == [2]
        query = server.peer.query
        assert (query["sessionId"], query["afterSequence"], query["reconnectAttempt"]) == ("s1", "1", "1")
        assert run.health.reconnection_count == 1


async def test_messages_sent_while_away_go_out_in_order_on_return(autojump_clock: MockClock, opened: Opener) -> None:
    """R13, R14: what was unanswered is sent again with the same id, and is there once."""
    async with fake_server() as server, opened(server) as run:
        server.swallow_acks = True
        first = run.send_nowait("FLAG", 0)
        await until_sent(first)
        await trio.sleep(0.1)
        await server.peer.close(1001)
        await until(run, lambda: run.health.state != "live")
        server.swallow_acks = False
        messages = [first, *(run.send_nowait("FLAG", number) for number in range(1, 5))]
        for message in messages:
            await message.wait_committed()
        assert server.ids() == [message.client_message_id for message in messages]
        assert first.ack is not None
        assert first.ack.duplicate


async def test_a_silent_connection_is_dropped_after_two_intervals(autojump_clock: MockClock, opened: Opener) -> None:
    """R35: a socket that nothing comes from is dead, whatever TCP says."""
    async with fake_server() as server, opened(server) as run:
        await trio.sleep(25)
        assert run.health.reconnection_count == 0
        server.is_silent = True
        last = server.peer.at[-1]
        await until(run, lambda: run.health.state != "live")
        assert 19 <= trio.current_time() - last <= 21
        assert isinstance(run.problem, errors.ServerUnreachable)


async def test_a_message_without_an_answer_makes_the_client_come_back(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R20: on a connection that lives otherwise, uncounted."""
    async with fake_server() as server, opened(server) as run:
        server.swallow_acks = True
        message = run.send_nowait("FLAG", 1)
        await until(run, lambda: run.health.state != "live")
        assert 20 <= trio.current_time() <= 22
        server.swallow_acks = False
        assert (await message.wait_committed()).duplicate


async def test_a_ping_measures_latency_and_reports_health(autojump_clock: MockClock, opened: Opener) -> None:
    """R35, R82: PING after the replay, health after the first PONG and every 30 s."""
    async with fake_server() as server, opened(server) as run:
        server.commit("FLAG", 1)
        await until(run, lambda: run.health.latency is not None)
        await trio.sleep(35)
        reports = server.peer.types("CLIENT_HEALTH")
        assert len(reports) == 2
        assert reports[0]["data"]["transport"] == "websocket"
        assert [ping["data"]["lastSequence"] for ping in server.peer.types("PING")] == [0] * 4


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_jump_of_the_wall_clock_changes_nothing(
    autojump_clock: MockClock, opened: Opener, wall: Wall, hours: int
) -> None:
    """R1, R2, S8: no reconnection, no wrong latency; forward it costs one PING."""
    async with fake_server() as server, opened(server) as run:
        await trio.sleep(12.5)
        wall.jumped += hours * 3600
        await run.send_flag("s", "n")
        await trio.sleep(30)
        assert run.health.reconnection_count == 0
        assert run.health.latency is not None
        assert run.health.latency < 100
        arrivals = zip(server.peer.at, server.peer.received, strict=True)
        pinged = [at for at, message in arrivals if message["eventType"] == "PING"]
        assert [round(at) for at in pinged] == ([0, 10, 20, 30, 40] if hours < 0 else [0, 10, 13, 23, 33])


async def test_after_a_sleep_a_dead_connection_is_found_within_five_seconds(
    autojump_clock: MockClock, opened: Opener, wall: Wall
) -> None:
    """R2, S9: the wall clock ran on while the machine slept, and the server is gone."""
    async with fake_server() as server, opened(server) as run:
        await trio.sleep(11)
        server.is_silent = True
        wall.jumped += 3600
        woken = trio.current_time()
        await until(run, lambda: run.health.state != "live")
        assert trio.current_time() - woken <= 6.5


async def test_a_drain_is_followed_as_told(autojump_clock: MockClock, opened: Opener) -> None:
    """R33, R29, S10: sending stops, and the client comes back exactly then."""
    async with fake_server() as server, opened(server) as run:
        await server.peer.tell("DRAIN", {"retryAfterMs": 3000})
        await trio.sleep(0.1)
        message = run.send_nowait("FLAG", 1)
        await trio.sleep(0.4)
        assert message.state == "queued"
        await server.peer.close(1012)
        await message.wait_committed()
        assert 3.0 <= server.dials[-1] <= 3.1
        assert run.health.reconnection_count == 1


async def test_a_drain_without_a_close_is_ended_by_the_client(autojump_clock: MockClock, opened: Opener) -> None:
    """R33: after five seconds."""
    async with fake_server() as server, opened(server) as run:
        await server.peer.tell("DRAIN", {"retryAfterMs": 8000})
        await until(run, lambda: run.health.state != "live")
        assert 5 <= trio.current_time() <= 6.1
        await server.wait_for_peer(2)
        assert 8 <= trio.current_time() <= 9.1


async def test_rejected_after_three_refusals_and_the_next_message_goes_through(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R18: the block is lifted with the connection, at once."""
    async with fake_server() as server, opened(server) as run:
        refused = {"code": "internal_error", "message": "broken", "retryable": True}
        bad = run.send_nowait("FLAG", "bad")
        server.answer_message = lambda message: (
            refused | {"clientMessageId": message["clientMessageId"]} if message["data"] == "bad" else None
        )
        good = run.send_nowait("FLAG", "good")
        with pytest.raises(errors.MessageRejected, match="internal_error"):
            await bad.wait_committed()
        await good.wait_committed()
        assert len(server.peers[0].types("FLAG")) >= 3
        assert run.health.message_delivery_rate == 0.5


async def test_a_close_over_size_rejects_the_message_and_nothing_else(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R21: no blind resending."""
    async with fake_server() as server, opened(server) as run:
        server.is_silent = True
        small, big = run.send_nowait("FLAG", 1), run.send_nowait("FLAG", "x" * 1000)
        await until_sent(big)
        server.is_silent = False
        await server.peer.close(1009)
        with pytest.raises(errors.MessageRejected, match="message_too_big"):
            await big.wait_committed()
        await small.wait_committed()


async def test_an_attempt_of_ours_that_arrives_late_ends_nothing(autojump_clock: MockClock, opened: Opener) -> None:
    """R29: given up unanswered, it reaches the server after the next one and replaces that: 4009, and we come back."""
    async with fake_server() as server, opened(server) as run:
        await trio.sleep(6)
        server.is_stalled = True
        await server.peer.close(1001)
        await trio.sleep(12)
        server.is_stalled = False
        await (await server.wait_for_peer(2)).close(4009)
        await server.wait_for_peer(3)
        assert await run.send_flag("s", "n")
