"""The Python client in token mode, against the real server."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
import trio

from collabd.client import Unauthorized, open_run
from tests.security.signing import SECRET, claims, sign
from tests.transports.peer import new_run
from tests.transports.servers import daemon

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SETTINGS = {"AUTH__MODE": "jwt", "AUTH__KEY_FILE": "key", "AUTH__LEEWAY_S": "0"}


def settings_in(directory: Path) -> dict[str, str]:
    """The settings, with a key file that is theirs alone."""
    directory.mkdir()
    (directory / "key").touch(0o600)
    (directory / "key").write_text(SECRET)
    return SETTINGS


class Issuer:
    """Gives out tokens, each with an id of its own."""

    def __init__(self, lasts: float) -> None:
        self.lasts = lasts
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        now = time.time()
        return sign(claims(exp=now + self.lasts, iat=now, runs="*", jti=f"token-{self.count}"), key=SECRET)


async def test_the_client_renews_its_token_without_a_break(tmp_path: Path) -> None:
    """A connection outlives its token. (A fifth of the token's life is left for that: here more than a second.)"""
    issuer = Issuer(lasts=6)
    with daemon(tmp_path / "d", settings_in(tmp_path / "d")) as server:
        async with open_run(server.url, new_run(), user_id="ann", token=issuer) as run:
            await run.send_graft("A", "x")
            session = run.session_id
            await trio.sleep(7)
            await run.send_graft("B", "x")
            assert run.session_id == session
            assert run.health.reconnection_count == 0
            assert issuer.count == 2


async def test_the_client_comes_back_with_a_new_token_after_a_revocation(tmp_path: Path) -> None:
    """What it had queued arrives once."""
    issuer = Issuer(lasts=60)
    with daemon(tmp_path / "d", settings_in(tmp_path / "d")) as server:
        async with open_run(server.url, new_run(), user_id="ann", token=issuer) as run:
            await run.send_graft("A", "x")
            admin_token = (tmp_path / "d" / "data" / "admin.token").read_text().strip()
            async with httpx.AsyncClient(
                trust_env=False, headers={"Authorization": f"Bearer {admin_token}"}
            ) as operator:
                answer = await operator.post(f"{server.url}/api/admin/tokens/revoke", json={"jti": "token-1"})
            assert answer.status_code == 200
            ack = await run.send_graft("B", "x")
            assert ack.sequence_number == 2
            assert issuer.count == 2


async def test_a_client_whose_tokens_are_all_refused_gives_up(tmp_path: Path) -> None:
    """By name, rather than asking for ever."""
    issuer = Issuer(lasts=-1)
    with daemon(tmp_path / "d", settings_in(tmp_path / "d")) as server:
        with pytest.raises(Unauthorized):
            async with open_run(server.url, new_run(), user_id="ann", token=issuer) as run:
                await run.send_graft("A", "x")
        assert issuer.count <= 3
