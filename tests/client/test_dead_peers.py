"""A peer that is there and does not work: it reads nothing, answers nothing, or answers nonsense at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from collabd.client import Run, errors
from collabd.client.settings import WAITING_EVENTS
from tests.client.conftest import Opener
from tests.client.fake_server import FakeServer, fake_server
from tests.client.waiting import take, until


@asynccontextmanager
async def polled(opened: Opener) -> AsyncIterator[tuple[FakeServer, Run]]:
    """A run over HTTP polling, joined and level."""
    async with fake_server() as server:
        server.refuse_socket = (502, "bad gateway", {})  # type: ignore[assignment]
        async with opened(server) as run:
            await until(run, lambda: run.using_fallback and run.position is not None)
            yield server, run


async def test_a_peer_that_reads_nothing_is_dropped_after_two_intervals(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R35: a ping that cannot be written must not keep the client from seeing that nothing comes."""
    async with fake_server() as server, opened(server) as run:
        await trio.sleep(11)
        last = trio.current_time()
        server.reads_nothing = server.is_silent = True
        run.send_nowait("FLAG", 1)
        await until(run, lambda: run.health.state != "live")
        assert trio.current_time() - last <= 21
        server.reads_nothing = server.is_silent = False
        await until(run, lambda: run.queued_message_count == 0)
        assert len(server.log) == 1


async def test_leaving_a_peer_that_reads_nothing_takes_two_seconds_at_most(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R34: in the middle of a message that cannot be written."""
    async with fake_server() as server:
        with pytest.raises(errors.MessagesUndelivered):
            async with opened(server) as run:
                await trio.sleep(1)
                server.reads_nothing = True
                run.send_nowait("FLAG", 1)
        assert trio.current_time() <= 1 + 5 + 2.1


async def test_a_message_sent_while_leaving_is_refused(autojump_clock: MockClock, opened: Opener) -> None:
    """R34: it would be taken and thrown away."""
    async with fake_server() as server, trio.open_nursery() as nursery:
        async with opened(server) as run:

            async def send_late() -> None:
                await trio.sleep(1)
                with pytest.raises(errors.RunClosed):
                    run.send_nowait("FLAG", 1)

            server.reads_nothing = True
            nursery.start_soon(send_late)
        assert server.log == []


@pytest.mark.parametrize(
    "says",
    [
        {"nextPollMs": 0},
        {"nextPollMs": -5},
        {"hasMore": True, "events": []},
        {"nextPollMs": 0, "hasMore": True, "events": []},
        {"nextPollMs": "soon"},
        {"events": [{"eventType": "FLAG"}]},
    ],
)
async def test_a_server_that_answers_polls_with_nothing_is_not_stormed(
    autojump_clock: MockClock, opened: Opener, says: dict[str, Any]
) -> None:
    """R72: whatever an answer says, ten polls a second is the most that it can bring about."""
    async with polled(opened) as (server, run):
        server.poll_says = says
        before = len(server.asked("GET", "/poll?"))
        await trio.sleep(10)
        assert len(server.asked("GET", "/poll?")) - before <= 101
        server.poll_says = {}
        server.commit("FLAG", 1)
        assert await take(run, 1) == [1]


@pytest.mark.parametrize("answer", [(500, "", {}), (200, "", {}), (429, {"code": "busy"}, {"Retry-After": "0"})])
async def test_a_server_that_answers_at_once_with_an_error_is_asked_with_backoff(
    autojump_clock: MockClock, opened: Opener, answer: Any
) -> None:
    """R72, R77: polls and posts alike, and all is well when it is over."""
    async with polled(opened) as (server, run):
        server.refuse_http |= {"poll": answer, "events": answer}
        message = run.send_nowait("FLAG", 1)
        before = len(server.requests)
        await trio.sleep(60)
        assert len(server.requests) - before <= 60
        server.refuse_http.clear()
        await message.wait_committed()


@pytest.mark.parametrize("acks", [[{"clientMessageId": "other"}], [{"sequenceNumber": 1, "clientMessageId": "i2"}]])
async def test_an_answer_to_another_message_commits_nothing_and_is_no_storm(
    autojump_clock: MockClock, opened: Opener, acks: list[Any]
) -> None:
    """R15, R77: what is not acknowledged by its own id is sent again."""
    async with polled(opened) as (server, run):
        server.refuse_http["events"] = (200, {"acks": acks}, {})
        first = run.send_nowait("FLAG", 1)
        before = len(server.requests)
        await trio.sleep(60)
        assert first.state != "committed"
        assert len(server.requests) - before <= 60
        server.refuse_http.clear()
        second = run.send_nowait("FLAG", 2)
        await first.wait_committed()
        await second.wait_committed()
        assert server.ids() == ["i1", "i2"]


async def test_a_hole_that_cannot_be_filled_is_asked_for_ever_less_often(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R65: the backoff goes on growing over reconnections."""
    async with fake_server() as server, opened(server) as run:
        server.refuse_http["replay"] = (500, "", {})
        server.commit("FLAG", 1)
        await server.publish()
        await trio.sleep(120)
        assert len(server.asked("GET", "/replay")) <= 30
        server.refuse_http.clear()
        assert await take(run, 2) == [1, 2]


async def test_an_application_that_reads_nothing_costs_no_memory_and_no_storm_while_polling(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """P1: what does not fit is not taken, and fetched when it is read."""
    async with polled(opened) as (server, run):
        for number in range(WAITING_EVENTS + 500):
            server.commit("FLAG", number)
        await trio.sleep(60)
        assert run.position is not None
        assert run.position.sequence_number == WAITING_EVENTS
        before = len(server.requests)
        await trio.sleep(20)
        assert len(server.requests) - before <= 20
        assert await take(run, WAITING_EVENTS + 500) == list(range(1, WAITING_EVENTS + 501))


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeatIntervalMs": 0},
        {"heartbeatIntervalMs": -1},
        {"maxMessageBytes": 0},
        {"replayCount": -1},
        {"serverTime": 10**400},
        {"sequenceNumber": 2**60},
    ],
)
async def test_a_welcome_with_impossible_numbers_is_no_collabd(
    autojump_clock: MockClock, opened: Opener, wrong: dict[str, Any]
) -> None:
    """R45: a named problem, and no exception of ours."""
    async with fake_server() as server:
        server.welcome_says = wrong
        with pytest.raises(errors.NotCollabd):
            async with opened(server):
                raise AssertionError("never opened")


@pytest.mark.parametrize(
    "text",
    [
        '{"eventType":"USER_JOIN","data":{"userId":{},"activeUsers":[{},[]]}}',
        '{"eventType":"USER_LEAVE","data":{"userId":[1]}}',
        '{"eventType":"CURSOR_MOVE","userId":"x","data":null}',
        '{"eventType":"DRAIN","data":{"retryAfterMs":1e999}}',
        '{"eventType":"ERROR","data":{"code":"rate_limited","retryAfterMs":9999999999999999999999}}',
        '{"eventType":"PONG","data":{"sentAt":"x"}}',
        '{"eventType":"AUTH_OK","data":{"expiresAt":[]}}',
        '{"eventType":"FLAG","sequenceNumber":true}',
        "[" * 100_000,
        "\\ud800",
    ],
)
async def test_no_message_of_a_server_ends_the_run_with_an_exception_of_ours(
    autojump_clock: MockClock, opened: Opener, text: str
) -> None:
    """R45: at worst the connection is dropped, and the client comes back."""
    async with fake_server() as server, opened(server) as run:
        await server.peer.socket.send_message(text)
        await trio.sleep(2)
        assert run.active_users == tuple(sorted(run.active_users))
        await run.send_flag("s", "n")
