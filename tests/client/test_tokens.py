"""Tokens that end or are refused in mid-session, under a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from collabd.client import errors
from tests.client.conftest import Opener
from tests.client.fake_server import fake_server
from tests.client.waiting import take, until


async def test_a_token_is_asked_again_when_it_is_refused(autojump_clock: MockClock, opened: Opener) -> None:
    """R51, S7: 4401 in mid-session, a new token, nothing lost."""
    tokens = iter(["t1", "t2"])
    async with fake_server() as server:
        server.good_token = "t1"
        async with opened(server, token=lambda: next(tokens)) as run:
            await run.send_flag("s", "1")
            server.good_token = "t2"
            await server.peer.close(4401, "expired")
            await run.send_flag("s", "2")
            assert await take(run, 2) == [1, 2]


async def test_a_fresh_token_that_is_refused_too_ends_the_run(autojump_clock: MockClock, opened: Opener) -> None:
    """R51: no endless asking."""
    async with fake_server() as server:
        server.good_token = "good"

        async def bad() -> str:
            await trio.lowlevel.checkpoint()
            return "bad"

        with pytest.raises(errors.Unauthorized, match="expired"):
            async with opened(server, token=bad):
                raise AssertionError("never opened")
        with pytest.raises(errors.Unauthorized):
            async with opened(server, token="bad"):
                raise AssertionError("never opened")


async def test_a_token_is_renewed_before_it_ends(autojump_clock: MockClock, opened: Opener) -> None:
    """R52: over AUTH, by the server's clock, without a reconnection."""
    from tests.client.test_values import token

    made: list[str] = []

    def supply() -> str:
        # Server time is 0 at WELCOME; before it, the client can only trust its own clock.
        made.append(token({"exp": 1_000_000 + 300 if not made else 600}))
        return made[-1]

    async with fake_server() as server, opened(server, token=supply) as run:
        await trio.sleep(239)
        assert len(made) == 1
        await trio.sleep(3)
        assert [message["data"]["token"] for message in server.peer.types("AUTH")] == made[1:2]
        assert run.health.reconnection_count == 0


async def test_a_function_that_fails_at_a_renewal_costs_no_connection(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R52: it is asked again, and the problem is told until a token was accepted."""
    from tests.client.test_values import token

    asked: list[float] = []

    def supply() -> str:
        asked.append(trio.current_time())
        if len(asked) in (2, 3):
            raise RuntimeError("no vault")
        return token({"exp": 1_000_000 + (100 if len(asked) == 1 else 600)})

    async with fake_server() as server, opened(server, token=supply) as run:
        await until(run, lambda: len(asked) == 2)
        named = run.problem
        assert isinstance(named, errors.TokenUnavailable)
        await trio.sleep(15)
        assert (len(asked), len(server.peer.types("AUTH"))) == (4, 1)
        assert asked[3] - asked[2] >= 5
        assert run.problem is None
        assert (run.health.state, run.health.reconnection_count) == ("live", 0)


async def test_a_known_token_is_used_on_while_the_function_fails_until_it_is_refused(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R52: a short fault of whoever supplies tokens is seen by nobody."""
    from tests.client.test_values import token

    known = token({"exp": 1_000_000 + 100})
    tokens = iter([known])

    def supply() -> str:
        try:
            return next(tokens)
        except StopIteration:
            raise RuntimeError("no vault") from None

    async with fake_server() as server, opened(server, token=supply) as run:
        server.good_token = known
        await trio.sleep(85)
        await server.peer.close(1001)
        await server.wait_for_peer(2)
        await run.send_flag("s", "n")
        server.good_token = "another"
        await server.peer.close(4401)
        await until(run, lambda: isinstance(run.problem, errors.TokenUnavailable) and run.health.state != "live")


async def test_a_token_function_that_fails_is_a_named_problem(autojump_clock: MockClock, opened: Opener) -> None:
    """R51: at the start it is raised, later it is a problem that is tried again."""

    def broken() -> str:
        raise RuntimeError("no vault")

    async with fake_server() as server:
        with pytest.raises(errors.TokenUnavailable, match="no vault"):
            async with opened(server, token=broken):
                raise AssertionError("never opened")


@pytest.mark.parametrize("nonsense", [None, 17, b"bytes", "", "  ", "two words", "a\nb", "tökn", ["t"]])
async def test_a_token_function_that_gives_no_token_is_a_named_problem(
    autojump_clock: MockClock, opened: Opener, nonsense: Any
) -> None:
    """R50: raised at the start; in mid-session a problem that is tried again, and nothing is lost."""
    async with fake_server() as server:
        with pytest.raises(errors.TokenUnavailable, match="a token is"):
            async with opened(server, token=lambda: nonsense):
                raise AssertionError("never opened")
        tokens = iter(["t1", nonsense, nonsense, "t2"])
        server.good_token = "t1"
        async with opened(server, token=lambda: next(tokens)) as run:
            server.good_token = "t2"
            await server.peer.close(4401)
            await until(run, lambda: isinstance(run.problem, errors.TokenUnavailable))
            await run.send_flag("s", "n")
            assert run.problem is None


@pytest.mark.parametrize("nonsense", ["", "two words", "a\nb", "tökn", 17, b"bytes"])
async def test_a_text_that_is_no_token_is_a_named_error_before_anything_is_sent(
    autojump_clock: MockClock, opened: Opener, nonsense: Any
) -> None:
    """R50: it could not stand in a header."""
    async with fake_server() as server:
        with pytest.raises(errors.TokenUnavailable, match="a token is"):
            async with opened(server, token=nonsense):
                raise AssertionError("never opened")
        assert server.dials == []


async def test_a_token_read_from_a_file_may_end_with_its_line(autojump_clock: MockClock, opened: Opener) -> None:
    """R50: white space around it is no part of it."""
    async with fake_server() as server:
        server.good_token = "t1"
        async with opened(server, token="t1\n") as run:
            await run.send_flag("s", "n")


async def test_a_token_function_that_never_returns_is_a_named_problem(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R50: after ten seconds, at the start and in mid-session."""
    async with fake_server() as server:

        async def hangs() -> str:
            await trio.sleep_forever()
            raise AssertionError

        with pytest.raises(errors.TokenUnavailable, match="did not return within 10 s"):
            async with opened(server, token=hangs):
                raise AssertionError("never opened")
        assert trio.current_time() <= 10.1


async def test_while_a_token_function_hangs_the_connection_is_watched(
    autojump_clock: MockClock, opened: Opener
) -> None:
    """R35, R52: pings go on, and a peer that dies meanwhile is seen."""
    from tests.client.test_values import token

    asked: list[float] = []

    async def supply() -> str:
        asked.append(trio.current_time())
        if len(asked) > 1:
            await trio.sleep_forever()
        return token({"exp": 1_000_000 + 100})

    async with fake_server() as server, opened(server, token=supply) as run:
        server.heartbeat_ms = 2000
        await server.peer.close(1001)
        await server.wait_for_peer(2)
        with trio.fail_after(200):
            while len(asked) < 2:  # noqa: ASYNC110, virtual time costs nothing
                await trio.sleep(0.1)
        pings = len(server.peer.types("PING"))
        await trio.sleep(5)
        assert len(server.peer.types("PING")) >= pings + 2
        assert run.health.state == "live"


@pytest.mark.parametrize("expiry", [10**400, float("inf"), float("nan"), "soon", True, -1, 0])
async def test_an_expiry_that_is_none_is_no_exception(autojump_clock: MockClock, opened: Opener, expiry: Any) -> None:
    """R52: at worst the token is asked for again when it is refused."""
    from tests.client.test_values import token

    async with fake_server() as server, opened(server, token=lambda: token({"exp": expiry})) as run:
        await run.send_flag("s", "n")
        await trio.sleep(30)
        assert len(server.peer.types("AUTH")) <= 30
        assert run.health.state == "live"


async def test_tasks_that_want_a_token_at_once_ask_once(autojump_clock: MockClock, opened: Opener) -> None:
    """R50: a slow identity provider is not asked by each."""
    asked: list[float] = []

    async def slow() -> str:
        asked.append(trio.current_time())
        await trio.sleep(1)
        return f"t{len(asked)}"

    async with fake_server() as server:
        server.refuse_socket = (502, "bad gateway", {})  # type: ignore[assignment]
        async with opened(server, token=slow) as run:
            await until(run, lambda: run.using_fallback and run.position is not None)
            server.refuse_http["events"] = (401, {"code": "unauthorized", "message": "expired"}, {})
            before = len(asked)
            run.send_nowait("FLAG", 1)
            await trio.sleep(1.5)
            assert len(asked) == before + 1
            server.refuse_http.clear()
