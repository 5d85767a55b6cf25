"""A few at a time: what keeps a crowd that comes at once from holding everybody else up.

Law of this file: it counts turns of the event loop, not tasks at work; nobody holds a place in it while waiting for a
peer, so a silent peer takes none.
"""

from __future__ import annotations

from typing import Final

import trio

PER_TURN: Final = 4
"""Who gets through in one turn of the event loop. A TLS handshake's step or a join takes about a millisecond."""

CROWD: Final = 64
"""So many waiting are enough: who is not accepted yet waits in the kernel's queue, where no deadline runs."""


class Turnstile:
    """What begins because of a peer's first bytes goes through it: heads, TLS handshakes, requests, woken polls."""

    def __init__(self) -> None:
        self._gate = trio.Semaphore(PER_TURN)

    async def pass_through(self) -> None:
        """Wait for a place in a turn of the event loop, first come first served."""
        async with self._gate:
            # A semaphore wakes whoever is next in the next turn: so many go through in each, and all else goes on.
            pass

    async def wait_short(self) -> None:
        """Wait until the queue is short. Every turn lets some through, so this ends, and is no busy waiting."""
        while self._gate.statistics().tasks_waiting >= CROWD:
            await trio.lowlevel.checkpoint()
