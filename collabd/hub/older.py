"""Events of a run that are in the log but no longer in memory: read once, shared by all who replay them at a time.

Law of this file: it only reads, in chunks, and remembers the last few chunks, few for all runs together.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from collabd.hub.encoding import stored_frame

if TYPE_CHECKING:
    from collabd.store.interface import Store

CHUNK_BYTES: Final = 256 * 1024
"""How much of a replay is read, and handed to a socket, at once."""
MOST_CHUNKS: Final = 64
"""Chunks remembered for all runs together: 16 MiB."""

Key = tuple[str, int, bool]


class OlderChunk(NamedTuple):
    """Joined frames, how many, and the number reached by them."""

    data: bytes
    events: int
    reached: int


class OlderChunks:
    """The chunks read last, of all runs."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[Key, OlderChunk] = OrderedDict()

    def __len__(self) -> int:
        return len(self._chunks)

    def get(self, key: Key) -> OlderChunk | None:
        """A chunk that is remembered."""
        return self._chunks.get(key)

    def put(self, key: Key, chunk: OlderChunk) -> None:
        """Remember a chunk, at the cost of the oldest."""
        self._chunks[key] = chunk
        while len(self._chunks) > MOST_CHUNKS:
            self._chunks.popitem(last=False)

    def drop(self, key: Key) -> None:
        """Forget a chunk, if it is still remembered."""
        self._chunks.pop(key, None)


class OlderEvents:
    """Reads one run's older events for replays. `chunk` answers None where the log was trimmed past the place."""

    def __init__(self, store: Store, run_id: str, chunks: OlderChunks) -> None:
        self._store = store
        self._run_id = run_id
        self._chunks = chunks
        self._mine: set[Key] = set()
        self._reading: dict[Key, trio.Event] = {}

    def forget(self, oldest: int | None) -> None:
        """Drop what begins before the oldest retained number; None: everything."""
        for key in [key for key in self._mine if oldest is None or key[1] < oldest]:
            self._mine.remove(key)
            self._chunks.drop(key)

    async def chunk(self, first: int, last: int, *, critical_until: int) -> OlderChunk | None:
        """Events from `first` to at most `last`; up to `critical_until` only critical ones."""
        critical_only = first <= critical_until
        if critical_only:
            last = min(last, critical_until)
        key = (self._run_id, first, critical_only)
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

    async def _read(self, key: Key, last: int) -> OlderChunk | None:
        _, first, critical_only = key
        page = await self._store.read(
            self._run_id, first=first, last=last, critical_only=critical_only, max_bytes=CHUNK_BYTES
        )
        if page.oldest > first:
            return None
        reached = last if page.complete else page.events[-1].sequence_number
        chunk = OlderChunk(b"".join(map(stored_frame, page.events)), len(page.events), reached)
        self._mine = {mine for mine in self._mine if self._chunks.get(mine) is not None} | {key}
        self._chunks.put(key, chunk)
        return chunk
