"""Events of a run that are in the log but no longer in memory: read once, shared by all who replay them at a time.

Law of this file: it only reads, in chunks, and remembers the last few chunks.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from collabd.hub.encoding import stored_frame

if TYPE_CHECKING:
    from collabd.store.interface import Store

CHUNK_BYTES: Final = 256 * 1024
_REMEMBERED: Final = 8


class OlderChunk(NamedTuple):
    """Joined frames, how many, and the number reached by them."""

    data: bytes
    events: int
    reached: int


class OlderEvents:
    """Reads one run's older events for replays. `chunk` answers None where the log was trimmed past the place."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._chunks: OrderedDict[tuple[int, bool], OlderChunk] = OrderedDict()
        self._reading: dict[tuple[int, bool], trio.Event] = {}

    def forget(self, oldest: int) -> None:
        """Drop what begins before the oldest retained number."""
        for key in [key for key in self._chunks if key[0] < oldest]:
            del self._chunks[key]

    async def chunk(self, first: int, last: int, *, critical_until: int) -> OlderChunk | None:
        """Events from `first` to at most `last`; up to `critical_until` only critical ones."""
        critical_only = first <= critical_until
        if critical_only:
            last = min(last, critical_until)
        key = (first, critical_only)
        while key in self._reading:
            await self._reading[key].wait()
        found = self._chunks.get(key)
        if found is not None and found.reached <= last:
            return found
        done = self._reading[key] = trio.Event()
        try:
            return await self._read(key, last)
        finally:
            del self._reading[key]
            done.set()

    async def _read(self, key: tuple[int, bool], last: int) -> OlderChunk | None:
        first, critical_only = key
        page = await self._store.read(
            self._run_id, first=first, last=last, critical_only=critical_only, max_bytes=CHUNK_BYTES
        )
        if page.oldest > first:
            return None
        reached = last if page.complete else page.events[-1].sequence_number
        chunk = OlderChunk(b"".join(map(stored_frame, page.events)), len(page.events), reached)
        self._chunks[key] = chunk
        while len(self._chunks) > _REMEMBERED:
            self._chunks.popitem(last=False)
        return chunk
