"""Every bad input and every refusal is a named error that says what to do."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from collabd.client import Run, Settings, errors
from tests.client.conftest import Opener
from tests.client.fake_server import fake_server
from tests.client.waiting import until, until_sent


async def test_nothing_that_answers_is_a_named_error(autojump_clock: MockClock, opened: Opener) -> None:
    """Errors by name: unreachable says what to check."""
    async with fake_server() as server:
        server.is_down = True
        with pytest.raises(errors.ServerUnreachable, match=r"Connection refused.*is the server running"):
            async with opened(server):
                raise AssertionError("never opened")


async def test_a_server_that_never_answers_is_a_named_error_within_the_time_limits(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R42, R43."""
    async with fake_server() as server:
        server.is_stalled = True
        with pytest.raises(errors.ServerUnreachable, match="no answer within"):
            async with opened(server):
                raise AssertionError("never opened")
        assert trio.current_time() <= 10.1


@pytest.mark.parametrize(
    "answer", [(404, "<html>nginx</html>", {}), (200, "hello", {}), (200, "[]", {}), (200, '{"ok":true}', {})]
)
async def test_a_server_that_is_no_collabd_is_a_named_error(
    autojump_clock: MockClock, opened: Opener, answer: Any
) -> None:
    """R44, R45: whatever answers to poll is not ours."""
    async with fake_server() as server:
        server.refuse_socket = (404, "<html>nginx</html>", {})  # type: ignore[assignment]
        server.refuse_http["poll"] = answer
        with pytest.raises(errors.NotCollabd, match="check the URL"):
            async with opened(server):
                raise AssertionError("never opened")


@pytest.mark.parametrize("first", ["hello", '{"eventType":"HELLO"}', '{"eventType":"WELCOME","data":{}}'])
async def test_a_websocket_that_says_no_welcome_is_no_collabd(
    autojump_clock: MockClock, opened: Opener, first: str
) -> None:
    """R42, R45."""
    async with fake_server() as server:
        server.first_message = first
        with pytest.raises(errors.NotCollabd):
            async with opened(server):
                raise AssertionError("never opened")


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_refusal_in_the_servers_words_ends_the_run(
    autojump_clock: MockClock, opened: Opener, status: int
) -> None:
    """R44: also in mid-session: who reads and who sends is told."""
    refusal: Any = (status, {"code": "run_not_found", "message": "no such run"}, {})
    async with fake_server() as server:
        async with opened(server) as run:
            server.refuse_socket = refusal
            await server.peer.close(1001)
            with pytest.raises(errors.Refused, match="no such run"):
                await anext(run)
            with pytest.raises(errors.RunClosed):
                run.send_nowait("FLAG", 1)
            assert run.health.state == "closed"
        with pytest.raises(errors.Refused, match="run_not_found"):
            async with opened(server):
                raise AssertionError("never opened")


async def test_a_server_that_is_full_is_waited_for_as_long_as_it_says(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R44: no error, no fallback."""
    async with fake_server() as server:
        server.refuse_socket = (503, {"code": "draining", "message": "restarting"}, {"Retry-After": "7"})
        async with opened(server) as run:
            assert isinstance(run.problem, errors.ServerBusy)
            server.refuse_socket = None
            await until(run, lambda: run.health.state == "live")
            assert 7 <= trio.current_time() <= 7.6


async def test_a_replaced_session_stays_away_and_fails_whoever_waits(autojump_clock: MockClock, opened: Opener) -> None:
    """R29: 4009."""
    async with fake_server() as server, opened(server) as run:
        server.swallow_acks = True
        message = run.send_nowait("FLAG", 1)
        await until_sent(message)
        await server.peer.close(4009)
        with pytest.raises(errors.RunClosed) as caught:
            await message.wait_committed()
        assert isinstance(caught.value.__cause__, errors.Replaced)
        with pytest.raises(errors.Replaced):
            await anext(run)
        await trio.sleep(60)
        assert len(server.peers) == 1


async def test_what_cannot_be_sent_is_refused_before_it_is_queued(autojump_clock: MockClock, opened: Opener) -> None:
    """R11: each with its own error."""
    async with fake_server() as server, opened(server, settings=Settings(max_queued_messages=1)) as run:
        with pytest.raises(errors.UnserialisableData):
            run.send_nowait("FLAG", object())
        with pytest.raises(errors.InvalidEventType):
            run.send_nowait("PING", 1)
        with pytest.raises(errors.MessageTooBig, match="65536"):
            run.send_nowait("FLAG", "x" * 65_536)
        server.swallow_acks = True
        run.send_nowait("FLAG", 1)
        with pytest.raises(errors.QueueFull):
            run.send_nowait("FLAG", 2)
        assert run.queued_message_count == 1
        server.swallow_acks = False
        await server.peer.close(1001)
        await until(run, lambda: run.queued_message_count == 0)


async def test_sending_after_the_end_is_a_named_error(autojump_clock: MockClock, opened: Opener) -> None:
    """Errors by name: closed."""
    async with fake_server() as server:
        async with opened(server) as run:
            pass
        with pytest.raises(errors.RunClosed):
            await run.send_flag("s", "n")
        with pytest.raises(errors.RunClosed):
            await run.send_cursor_move("n")
        assert [item async for item in run] == []


async def test_health_can_be_watched(autojump_clock: MockClock, opened: Opener) -> None:
    """R81: as a stream of values."""
    seen: list[str] = []

    async def watch(run: Run) -> None:
        async for health in run.health_changes():
            seen.append(health.state)

    async with fake_server() as server, trio.open_nursery() as nursery, opened(server) as run:
        nursery.start_soon(watch, run)
        await trio.sleep(1)
        await server.peer.close(1001)
        await until(run, lambda: run.health.reconnection_count == 1)
    assert [seen[0], "waiting" in seen, seen[-1]] == ["live", True, "live"]
