"""Tokens that end or are refused in mid-session, under a virtual clock."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from collabd.client import errors
from tests.client.conftest import Opener
from tests.client.fake_server import fake_server
from tests.client.waiting import take


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


async def test_a_token_function_that_fails_is_a_named_problem(autojump_clock: MockClock, opened: Opener) -> None:
    """R51: at the start it is raised, later it is a problem that is tried again."""

    def broken() -> str:
        raise RuntimeError("no vault")

    async with fake_server() as server:
        with pytest.raises(errors.TokenUnavailable, match="no vault"):
            async with opened(server, token=broken):
                raise AssertionError("never opened")
