"""HTTP stands in for a WebSocket that does not pass, under a virtual clock."""

from __future__ import annotations

import itertools
import math

import trio
from trio.testing import MockClock

from collabd.client import errors
from tests.client.conftest import Opener
from tests.client.fake_server import fake_server
from tests.client.waiting import take, until, until_sent


async def test_five_failures_lead_to_polling_and_a_probe_back_with_nothing_lost_or_doubled(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R70 to R76, S3: a proxy that ends every WebSocket after 200 ms."""
    async with fake_server() as server:
        async with opened(server) as run:
            await run.send_flag("s", "0")
            server.websocket_dies_after = 0.2
            await trio.sleep(6)
            await server.peer.close(1001)
            await until(run, lambda: run.using_fallback)
            sent = [run.send_nowait("FLAG", number) for number in range(20)]
            for message in sent:
                await message.wait_committed()
            assert server.asked("POST", "/events")
            server.websocket_dies_after = None
            await until(run, lambda: run.health.state == "live")
            await trio.sleep(6)
            await run.send_flag("s", "last")
            assert await take(run, 22) == list(range(1, 23))
            assert run.health.transport == "websocket"
            assert len(set(server.ids())) == 22
        polls = [at for at, _ in server.asked("GET", "/poll?")]
        assert max(later - earlier for earlier, later in itertools.pairwise(polls)) < 5


async def test_while_polling_presence_health_and_cursors_go_on(autojump_clock: MockClock, opened: Opener) -> None:
    """R74, R82, R85."""
    async with fake_server() as server:
        server.refuse_socket = (502, "bad gateway", {})  # type: ignore[assignment]
        async with opened(server) as run:
            assert isinstance(run.problem, errors.WebSocketBlocked)
            await until(run, lambda: run.using_fallback and run.health.latency is not None)
            server.users = ["ann", "cid"]
            await run.send_cursor_move("n7")
            await until(run, lambda: run.active_users == ("ann", "cid"))
            await trio.sleep(3)
            assert server.posted == {"eventType": "CURSOR_MOVE", "data": {"nodeId": "n7"}}
            assert not run.health.is_healthy


async def test_a_server_that_is_gone_for_long_is_found_again_by_both_ways(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """S2: 60 seconds without network, 50 messages queued; all there, in order, once."""
    async with fake_server() as server, opened(server) as run:
        await trio.sleep(6)
        server.is_down = True
        await server.peer.close(1001)
        await until(run, lambda: run.health.state != "live")
        sent = [run.send_nowait("FLAG", number) for number in range(50)]
        await trio.sleep(60)
        assert {message.state for message in sent} == {"queued"}
        server.is_down = False
        for message in sent:
            await message.wait_committed()
        assert server.ids() == [message.client_message_id for message in sent]
        await until(run, lambda: run.health.state == "live")
        assert await take(run, 50) == list(range(1, 51))


async def test_probes_are_never_more_than_twenty_seconds_apart(autojump_clock: MockClock, opened: Opener) -> None:
    """R24, R71: and grow up to there."""
    async with fake_server() as server:
        server.is_down = True
        async with opened(server, start_offline=True):
            await trio.sleep(120)
            sockets = sorted(set(server.dials))
            assert max(later - earlier for earlier, later in itertools.pairwise(sockets)) <= 20


async def test_an_answer_lost_after_the_commit_over_http_commits_once(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R77, S4."""
    async with fake_server() as server:
        server.refuse_socket = (502, "bad gateway", {})  # type: ignore[assignment]
        async with opened(server) as run:
            await until(run, lambda: run.using_fallback)
            server.http_delay = math.inf
            message = run.send_nowait("FLAG", 1)
            await until_sent(message)
            server.commit("FLAG", 1, "ann", message.client_message_id)
            server.http_delay = 0.0
            ack = await message.wait_committed()
            assert (ack.sequence_number, ack.duplicate) == (1, True)
            assert len(server.log) == 1


async def test_polling_ends_with_the_return_of_the_websocket(autojump_clock: MockClock, opened: Opener) -> None:
    """R71: one transport at a time."""
    async with fake_server() as server:
        server.refuse_socket = (502, "bad gateway", {})  # type: ignore[assignment]
        async with opened(server) as run:
            await until(run, lambda: run.using_fallback)
            await trio.sleep(10)
            server.refuse_socket = None
            await until(run, lambda: run.health.state == "live")
            polls = len(server.asked("GET", "/poll?"))
            await trio.sleep(20)
            assert len(server.asked("GET", "/poll?")) == polls


async def test_a_rate_limit_over_http_is_waited_out_for_a_second(autojump_clock: MockClock, opened: Opener) -> None:
    """R76: a POST each time a token drips would be worse than what the limit is against."""
    async with fake_server() as server:
        server.refuse_socket = (502, "bad gateway", {})  # type: ignore[assignment]
        async with opened(server) as run:
            await until(run, lambda: run.using_fallback)
            refused = {"code": "rate_limited", "message": "slow down", "retryable": True, "retryAfterMs": 20}
            server.answer_message = lambda message: refused
            message = run.send_nowait("FLAG", 1)
            await trio.sleep(4.5)
            server.answer_message = None
            await message.wait_committed()
            posts = [at for at, _ in server.asked("POST", "/events") if at > 0]
            assert len(posts) <= 8
