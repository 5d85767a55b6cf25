"""S7 of the table of scenarios (docs/client-behaviour.md): a token expires in mid-session, against the real server.

The client's time is the server's here, since a token's expiry is a time of the wall clock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
import trio

from collabd.client import Message, Run, open_run
from tests.scenarios.stage import UNLIMITED, View
from tests.support.daemon import running_daemon

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.real_time]

SECRET = "a secret for this test alone, long enough for HS256"
LIFETIME_S = 2


def minting(user: str, asked: list[float]) -> Callable[[], str]:
    """A function that supplies tokens of two seconds, and notes when it was asked."""

    def mint() -> str:
        asked.append(time.time())
        claims = {"sub": user, "runs": "*", "role": "editor", "exp": int(time.time()) + LIFETIME_S}
        return jwt.encode(claims, SECRET, algorithm="HS256")

    return mint


async def write_for(run: Run, seconds: float) -> list[Message]:
    """Queue a message every 50 ms for a while."""
    messages: list[Message] = []
    with trio.move_on_after(seconds):
        while True:
            messages.append(run.send_nowait("FLAG", {"stepId": str(len(messages)), "note": "n"}))
            await trio.sleep(0.05)
    return messages


async def test_s7_a_token_that_expires_in_mid_session_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    """The function is asked again, and every message is committed once, in order, in a gapless view."""
    key = tmp_path / "key"
    key.write_text(SECRET)
    key.chmod(0o600)
    settings = {**UNLIMITED, "AUTH__MODE": "jwt", "AUTH__KEY_FILE": str(key)}
    asked: list[float] = []
    with running_daemon(tmp_path / "data", settings) as daemon:
        view = View()
        async with (
            open_run(daemon.url, str(uuid.uuid4()), user_id="ann", token=minting("ann", asked)) as run,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(view.collect, run)
            messages = await write_for(run, 2.5 * LIFETIME_S)
            with trio.fail_after(30):
                for message in messages:
                    await message.wait_committed()
                while len(view.numbers) < len(messages):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        assert len(asked) >= 3
        assert [message.ack.sequence_number for message in messages if message.ack] == view.numbers
        assert view.numbers == list(range(1, len(messages) + 1))
        assert not view.resets
