"""The newest persisted events of a run, encoded and kept in memory, so that resuming needs no database.

Law of this file: plain data structures, no I/O. Architecture, decision 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple


class RingEntry(NamedTuple):
    """One told event: its WebSocket frame, and where all frames up to it end (bytes since the ring was made)."""

    frame: bytes
    critical: bool
    end: int
    state: tuple[str, str] | None


_GONE: Final = RingEntry(b"", False, 0, None)


class Ring:
    """A run's newest events, gapless from `first` to `head`, bounded in bytes.

    `oldest` is the oldest number that the log still retains (before or after `first`); critical flags are kept for
    all retained events, so that the length of a replay is known without reading them.
    """

    def __init__(self, max_bytes: int, *, oldest: int = 1, head: int = 0, critical_flags: bytes = b"") -> None:
        self.max_bytes = max_bytes
        self.oldest = oldest
        self.head = head
        self.first = head + 1
        self._flags = bytearray(critical_flags)
        self._entries: list[RingEntry] = []
        self._start = 0  # entries before it are gone, and cut off in bulk
        self._end = 0

    @property
    def size(self) -> int:
        """Bytes of all frames held."""
        return self._end - self._end_before(self.first)

    def fill(self, events: Iterable[tuple[bytes, bool, tuple[str, str] | None]]) -> None:
        """Take the newest events, which the log already had (frame, critical, state), up to `head`."""
        for frame, critical, state in events:
            self._end += len(frame)
            self._entries.append(RingEntry(frame, critical, self._end, state))
        self.first = self.head + 1 - len(self._entries)

    def append(self, frame: bytes, critical: bool, state: tuple[str, str] | None = None) -> int:
        """Take the next event and answer its number."""
        self._end += len(frame)
        self._entries.append(RingEntry(frame, critical, self._end, state))
        self._flags.append(critical)
        self.head += 1
        while self.size > self.max_bytes and self.first < self.head:
            self._drop_first()
        return self.head

    def trim(self, oldest: int) -> list[RingEntry] | None:
        """Note that the log no longer retains events below `oldest`.

        Their frames stay here as long as there is room, for replays that began before. Answers the state entries
        among the events trimmed by this call, or None where some of those events were not in memory.
        """
        if oldest <= self.oldest:
            return []
        begin, end = (self._start + number - self.first for number in (self.oldest, oldest))
        trimmed = None
        if self.covers(self.oldest - 1):
            trimmed = [entry for entry in self._entries[begin:end] if entry.state is not None]
        del self._flags[: oldest - self.oldest]
        self.oldest = oldest
        return trimmed

    def shrink(self, max_bytes: int) -> None:
        """Drop the oldest frames until at most max_bytes are held; they stay in the log."""
        while self.size > max_bytes:
            self._drop_first()

    def covers(self, after: int) -> bool:
        """Whether every event after this number is in memory."""
        return after + 1 >= self.first

    def bytes_after(self, after: int) -> int:
        """Bytes of the frames in memory after this number."""
        return self._end - self._end_before(max(after + 1, self.first))

    def critical_after(self, after: int) -> int:
        """How many retained critical events come after this number."""
        return self._flags.count(1, max(0, after + 1 - self.oldest))

    def take(
        self, after: int, last: int, max_bytes: int, *, critical_until: int = 0, limit: int | None = None
    ) -> tuple[list[bytes], int]:
        """Frames after a number up to `last`, at most about max_bytes, and the number reached by them.

        Up to `critical_until` only critical events are taken. The number is `last` exactly when there is nothing more
        to take. Requires covers(after).
        """
        frames: list[bytes] = []
        taken = 0
        first_index = self._start - self.first
        for number in range(after + 1, last + 1):
            entry = self._entries[first_index + number]
            if entry.critical or number > critical_until:
                if taken >= max_bytes or (limit is not None and len(frames) >= limit):
                    return frames, number - 1
                frames.append(entry.frame)
                taken += len(entry.frame)
        return frames, last

    def _end_before(self, number: int) -> int:
        """Where the frames before this number end."""
        index = self._start + number - self.first
        if index < len(self._entries):
            entry = self._entries[index]
            return entry.end - len(entry.frame)
        return self._end

    def _drop_first(self) -> None:
        self._entries[self._start] = _GONE  # frees its frame at once
        self._start += 1
        self.first += 1
        # Cutting the list off each time would copy it each time.
        if self._start > 256 and self._start * 2 > len(self._entries):
            del self._entries[: self._start]
            self._start = 0


class RingBudget:
    """Keeps the rings of all runs together within `max_bytes`, at the cost of those quiet for longest."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0
        self._sizes: dict[Ring, int] = {}

    def settle(self, ring: Ring) -> None:
        """Account for a ring that just changed, and make room elsewhere where the sum is too large."""
        self.used += ring.size - self._sizes.pop(ring, 0)
        self._sizes[ring] = ring.size  # now last: the most recently used
        while self.used > self.max_bytes and self._sizes:
            self._halve(next(iter(self._sizes)))

    def release(self, ring: Ring) -> None:
        """A closed run gives its bytes back."""
        self.used -= self._sizes.pop(ring, 0)

    def _halve(self, ring: Ring) -> None:
        before = self._sizes.pop(ring)
        ring.shrink(before // 2 if before > 65536 else 0)
        self.used -= before - ring.size
        if ring.size:
            self._sizes[ring] = ring.size
