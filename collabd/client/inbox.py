"""What waits for the application to read it.

Law of this file: docs/client-behaviour.md P1: the socket never waits for the application, and memory has a bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from collabd.client.messages import Reset
from collabd.client.position import Item
from collabd.client.pulse import Pulse
from collabd.client.settings import WAITING_EVENTS


class Inbox:
    """Items in order. A join's or a reset's state is always taken whole; single events only while there is room."""

    def __init__(self, read: Pulse) -> None:
        self._items: deque[Item] = deque()
        self._arrived = Pulse()
        self._read = read
        self._overflowed = False
        self._error: BaseException | None = None
        self._ended = False

    @property
    def has_room(self) -> bool:
        """One more event may be put; after an overflow only when half of what waited was read."""
        if len(self._items) >= WAITING_EVENTS:
            self._overflowed = True
        elif len(self._items) <= WAITING_EVENTS // 2:
            self._overflowed = False
        return not self._overflowed

    @property
    def room(self) -> int:
        """How many events may be put."""
        return max(0, WAITING_EVENTS - len(self._items))

    def put(self, items: Iterable[Item]) -> None:
        """Add items; a reset that meets an overflow takes the place of what it makes worthless."""
        for item in items:
            if isinstance(item, Reset) and not self.has_room:
                self._items.clear()
            self._items.append(item)
        self._arrived.ring()

    def end(self, error: BaseException | None) -> None:
        """No more will come: the reader gets what is left, then the error or the end."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._arrived.ring()

    async def get(self) -> Item:
        """The next item. Raises StopAsyncIteration at the end, or the error that ended it."""
        await self._arrived.wait_until(lambda: bool(self._items) or self._ended)
        if self._items:
            item = self._items.popleft()
            if self._overflowed and self.has_room:
                self._read.ring()
            return item
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration
