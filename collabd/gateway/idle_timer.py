"""Ending an HTTP connection that waits too long for its next request.

Law of this file: one task for a connection, which sleeps through its requests. Hypercorn 0.18 starts and cancels a
task for every request, a tenth of what a short answer costs (docs/performance.md, "Polling").
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio


class Termination(Protocol):
    """Hypercorn's event for the server's end."""

    async def wait(self) -> None:
        """Wait for it."""


class IdleTimer:
    """Calls `close` once the connection has been idle for `keep_alive_s` seconds, or is idle at the server's end."""

    def __init__(self, keep_alive_s: float, close: Callable[[], Awaitable[None]]) -> None:
        self._keep_alive_s = keep_alive_s
        self._close = close
        self._idle_since: float | None = trio.current_time()
        self._became_idle = trio.Event()
        self._scope = trio.CancelScope()

    def note(self, *, idle: bool) -> None:
        """The connection waits for a request, or is at one."""
        self._idle_since = trio.current_time() if idle else None
        if idle:
            self._became_idle.set()

    def stop(self) -> None:
        """Watch no longer."""
        self._scope.cancel()

    async def run(self, termination: Termination) -> None:
        """Watch until the connection is closed, or `stop` is called."""
        with self._scope:
            await self._wait_due(termination)
            with trio.CancelScope(shield=True):
                await self._close()

    async def _wait_due(self, termination: Termination) -> None:
        while True:
            with trio.move_on_at(self._due()):
                await termination.wait()
                await self._wait_idle()
                return
            if trio.current_time() >= self._due():
                return

    def _due(self) -> float:
        """When it may be closed, as it looks now: for one at a request never before the time from now."""
        since = trio.current_time() if self._idle_since is None else self._idle_since
        return since + self._keep_alive_s

    async def _wait_idle(self) -> None:
        while self._idle_since is None:
            self._became_idle = trio.Event()
            await self._became_idle.wait()
