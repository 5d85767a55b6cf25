"""When what was told is written: by the end of the turn in which it was read, or in the next one.

Law of this file: it decides when, the fan-outs do it. Waking a run's task costs a turn of the event loop, a fifth of
what a message in a small room costs (docs/performance.md, "Fan-out").
"""

from __future__ import annotations

from collections.abc import Callable

from collabd.hub import fanout
from collabd.hub.fanout import FanOut


class Tick:
    """One of the hub's: it sees who has something to tell."""

    def __init__(self) -> None:
        self._told: dict[FanOut, None] | None = None

    def wake(self, teller: FanOut) -> None:
        """Have a fan-out write what it was told."""
        if self._told is None:
            teller.wake()
        else:
            self._told[teller] = None

    def gather(self, work: Callable[[], None]) -> None:
        """Do some work, then write what it told, to one slice of members; the runs' own tasks write to more.

        Faults of a run are its own: nothing of them is raised here.
        """
        told = self._told = {}
        try:
            work()
        finally:
            self._told = None
            room = fanout.SLICE
            for teller in told:
                room -= teller.write_at_once(room)
