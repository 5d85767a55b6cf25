"""Waiting for something to change. Law of this file: Trio's events and nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio


class Pulse:
    """Wakes everyone who waits each time it rings. Look at the state, then wait without awaiting in between."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake all who wait now."""
        if self._event.statistics().tasks_waiting:
            self._event.set()
            self._event = trio.Event()

    async def wait(self, until: float = math.inf) -> None:
        """Wait for the next ring, at most until the time `until` of Trio's clock."""
        with trio.move_on_at(until):
            await self._event.wait()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, looking again at each ring."""
        while not condition():
            await self._event.wait()
