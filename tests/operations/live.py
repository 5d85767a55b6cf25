"""A running server, asked over its real routes."""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.operations.asking import Series, series_of
from tests.support.daemon import Daemon


class Watched:
    """A running server, and what its operator is told."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    async def admin(self, path: str) -> Any:
        """The JSON of a route below /api/admin/websocket."""
        status, body = await trio.to_thread.run_sync(self.daemon.request, f"/api/admin/websocket{path}")
        assert status == 200, body
        return body

    async def session(self, user: str) -> dict[str, Any]:
        """The figures of a user's one session."""
        (found,) = [session for session in await self.admin("/metrics") if session["userId"] == user]
        return dict(found)

    async def exposition(self) -> str:
        """What Prometheus would scrape."""
        return await trio.to_thread.run_sync(_fetch, f"{self.daemon.url}/actuator/prometheus")

    async def scrape(self) -> Series:
        """Every series of it."""
        return series_of(await self.exposition())


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until something is so."""
    with trio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110 (it is asked of another process)
            await trio.sleep(0.05)


@asynccontextmanager
async def connected(port: int, run: str, user: str, query: str = "") -> AsyncIterator[WebSocketConnection]:
    """A raw WebSocket in a run, through whatever listens at this port."""
    url = f"ws://127.0.0.1:{port}/ws/runs/{run}/collaboration?userId={user}{query}"
    async with open_websocket_url(url) as socket:
        yield socket
