"""The list of runs: what it costs, whoever asks how often."""

from __future__ import annotations

import trio

from collabd.hub.listing import StoredRuns
from collabd.store.interface import RunHead
from collabd.store.memory import MemoryStore


class SlowStore(MemoryStore):
    """A store in which a look at all runs takes two seconds."""

    looks = 0

    async def runs(self, *, limit: int) -> list[RunHead]:
        """Store.runs, counted."""
        self.looks += 1
        await trio.sleep(2)
        return await super().runs(limit=limit)


async def test_looking_at_all_runs_takes_a_small_share_of_the_time(autojump_clock: trio.abc.Clock) -> None:
    """A hundred lobbies that ask every three seconds for five minutes: one look in forty seconds."""
    store = SlowStore()
    stored = StoredRuns(store)

    async def lobby() -> None:
        for _ in range(100):
            await stored.newest()
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(lobby)
    assert 7 <= store.looks <= 9


async def test_a_look_that_costs_nothing_is_taken_each_time(autojump_clock: trio.abc.Clock) -> None:
    """With few runs nobody is told of yesterday."""

    class QuickStore(MemoryStore):
        looks = 0

        async def run_count(self) -> int:
            self.looks += 1
            return self.looks

    stored = StoredRuns(QuickStore())
    assert [(await stored.newest())[1] for _ in range(3)] == [1, 2, 3]
