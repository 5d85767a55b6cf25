"""Telling everyone: frames of one scheduler tick are joined once and written to every member without waiting.

Law of this file: a level member costs one system call per tick and nothing is allocated per delivery; a member whose
socket would block goes to the backlog (docs/performance.md, "Fan-out"). Whoever is told what is decided by three
numbers: the ring's head, a member's position, and how many frames of the running tick a newcomer skips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from collabd.hub.backlog import Backlog
from collabd.hub.connection import Connection, Stage

if TYPE_CHECKING:
    from collabd.hub.older import OlderEvents
    from collabd.hub.ring import Ring
    from collabd.hub.tick import Tick
    from collabd.metrics import Counters

SLICE: Final = 256
"""Members written to before other tasks get a turn, so that one huge room does not starve a small one."""

_SHARE_BYTES: Final = 32_768
"""Who gets a multiple of this in one write counts as so many members: to copy it takes its time."""

Send = Callable[[bytes], int]


class _Told(NamedTuple):
    """What a tick tells everyone: joined frames, how many events they are, and the last sequence number so far."""

    data: bytes
    events: int
    head: int


class _Underway:
    """A tick that is being written to a large room, with turns for others in between."""

    def __init__(self, told: _Told, owed: list[Connection]) -> None:
        self.told = told
        self.owed = owed
        """Who may not have got it yet; some of the first of them may."""
        self.gone: set[Connection] = set()


_SKIP: Final[Send] = len
"""A send that takes all and writes nothing."""


class FanOut:
    """Writes what a run tells to its connections.

    `outbox_max_bytes` bounds what may wait for one slow member; a replay does not count against it.
    """

    def __init__(
        self,
        ring: Ring,
        older: OlderEvents,
        nursery: trio.Nursery,
        counters: Counters,
        outbox_max_bytes: int,
        tick: Tick,
    ) -> None:
        self._ring = ring
        self._counters = counters
        self._tick = tick
        self._wake = trio.Event()
        self._pending: list[bytes] = []
        self._pending_transient: dict[tuple[str, str], bytes] = {}
        self._dirty: list[Connection] = []
        self._newcomers: list[Connection] = []
        self._level: dict[Connection, Send] = {}
        self._backlog = Backlog(ring, older, nursery, counters, outbox_max_bytes, self._becomes_newcomer)
        self._flushed_events = 0
        self._underway: _Underway | None = None
        self._fault: Exception | None = None

    # What the run calls: nothing here waits.

    def tell(self, frame: bytes) -> None:
        """Tell everyone a persisted event, which is in the ring already."""
        self._pending.append(frame)
        self._tick.wake(self)

    def tell_transient(self, user_id: str, event_type: str, frame: bytes) -> None:
        """Tell everyone a transient event; those under pressure get only the latest of each (user, type)."""
        key = (user_id, event_type)
        self._pending.append(frame)
        self._pending_transient.pop(key, None)  # so that the newest comes last
        self._pending_transient[key] = frame
        self._backlog.put_in_lanes(key, frame)
        self._tick.wake(self)

    def tell_one(self, connection: Connection, frame: bytes) -> None:
        """Queue a frame for one connection, to be written with the tick's shared bytes."""
        if connection.stage is Stage.CLOSED:
            return
        if not connection.private:
            self._dirty.append(connection)
        connection.private.append(frame)
        self._tick.wake(self)

    def write_or_tell(self, connection: Connection, frame: bytes) -> None:
        """Write a frame of one connection at once where nothing is before it, else queue it.

        For pings: to wake the flusher for each of them would cost more than the ping itself.
        """
        if connection.stage is Stage.LEVEL and not connection.private and self._underway is None:
            try:
                frame = frame[connection.send(frame) :]
            except BlockingIOError:
                pass
            except OSError:
                connection.lost(0)
        if frame:
            self.tell_one(connection, frame)

    def finish(self, connection: Connection, last_frame: bytes) -> None:
        """Make all that a connection is still owed, and a last frame, part of its own outbox: it is about to close."""
        if connection.stage is Stage.LEVEL:
            if self._underway is not None and connection in self._underway.owed:
                connection.private.append(self._underway.told.data)
            connection.private += self._pending
        elif connection.stage is Stage.NEWCOMER:
            connection.private += self._pending[connection.skip :]
        connection.private.append(last_frame)

    def add(self, connection: Connection) -> None:
        """Take in a connection whose WELCOME is in its outbox; what its socket takes at once is written now."""
        self._backlog.add(connection)

    def give_up(self, connection: Connection) -> None:
        """Forget a connection that the server closes; what it was still owed failed to reach it."""
        if connection.stage is Stage.BACKLOGGED:
            connection.sent -= connection.unsent_events
            connection.count_failures(self._backlog.owed(connection))
        self.remove(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed or gone."""
        if connection.stage is Stage.LEVEL:
            connection.sent += self._flushed_events - connection.counted_from
            del self._level[connection]
            if self._underway is not None:
                self._underway.gone.add(connection)
        elif connection.stage is Stage.BACKLOGGED:
            self._backlog.remove(connection)
        elif connection.stage is Stage.NEWCOMER:
            self._newcomers.remove(connection)
        connection.stage = Stage.CLOSED

    def events_sent(self, connection: Connection) -> int:
        """Events written to a connection, or handed to its backlog, so far."""
        live = self._flushed_events - connection.counted_from if connection.stage is Stage.LEVEL else 0
        return connection.sent + live

    def queued_bytes(self, connection: Connection) -> int:
        """Bytes that wait for this connection's socket."""
        replay = self._ring.bytes_after(connection.position) if connection.stage is Stage.BACKLOGGED else 0
        return connection.queued_bytes() + replay

    def connections(self) -> list[Connection]:
        """All connections of the run."""
        return [*self._level, *self._newcomers, *self._backlog]

    # Writing

    def wake(self) -> None:
        """Have the task write what was told, in the next turn."""
        self._wake.set()

    def write_at_once(self, most: int) -> int:
        """Write what was told now, if that is to at most so many members (SLICE or fewer), else leave it to the task.

        Answers how many it was, those that get much counted as several. A fault is raised by the task, whose end is its
        run's.
        """
        members = (len(self._level) + len(self._newcomers)) * self._weight()
        if self._underway is not None or members > most:
            self._wake.set()
            return 0
        try:
            self._write_small()
        except Exception as error:
            self._fault = error
            self._wake.set()
        return members

    async def run(self) -> None:
        """Write whenever there is something to tell; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._fault is not None:
                raise self._fault
            if len(self._level) * self._weight() <= SLICE:
                self._write_small()
            else:
                # What is being read just now comes along: to write it by itself would cost a whole round of writes.
                await trio.lowlevel.checkpoint()
                await self._write_large()

    def _weight(self) -> int:
        """How many members one of them counts as, by what it is about to be written."""
        return max(1, sum(map(len, self._pending)) // _SHARE_BYTES)

    def _write_small(self) -> None:
        """Write one tick to everyone in one go."""
        told, sends, dirty = self._take_tick()
        self._send_to_each(sends, told, self._level)
        for connection in dirty:
            self._write(connection, told)
        self._backlog.check_bounds()

    async def _write_large(self) -> None:
        """Write one tick to everyone, with turns for others in between. Members may go meanwhile."""
        members = list(self._level) if self._pending else []
        size = max(1, SLICE // self._weight())
        told, sends, dirty = self._take_tick()
        underway = self._underway = _Underway(told, [*members, *dirty])
        for start in range(0, len(members), size):
            if start:
                await trio.lowlevel.checkpoint()
            some, theirs = members[start : start + size], sends[start : start + size]
            if underway.gone:
                theirs = [_SKIP if each in underway.gone else send for each, send in zip(some, theirs, strict=True)]
            self._send_to_each(theirs, told, some)
            del underway.owed[:size]
        for start in range(0, len(dirty), size):
            if start or members:
                await trio.lowlevel.checkpoint()
            for connection in dirty[start : start + size]:
                if connection.stage is Stage.LEVEL:
                    self._write(connection, told)
            del underway.owed[:size]
        self._underway = None
        self._backlog.check_bounds()

    def _take_tick(self) -> tuple[_Told, list[Send], list[Connection]]:
        """What was told since the last tick, each member's send in their order, and who gets frames of its own after.

        Newcomers get their part of the tick here, and are level then.
        """
        dirty = self._take_dirty()
        sends = self._sends_but_of(dirty) if self._pending else []
        pending, self._pending = self._pending, []
        newcomers, self._newcomers = self._newcomers, []
        self._pending_transient = {}
        self._flushed_events += len(pending)
        self._counters.messages_out += len(pending) * len(self._level)
        told = _Told(b"".join(pending), len(pending), self._ring.head)
        for connection in newcomers:
            self._bring_in(connection, pending[connection.skip :], told.head)
        return told, sends, dirty

    def _take_dirty(self) -> list[Connection]:
        """Level members that have frames of their own to get."""
        dirty, self._dirty = self._dirty, []
        return [connection for connection in dict.fromkeys(dirty) if connection.stage is Stage.LEVEL]

    def _sends_but_of(self, dirty: list[Connection]) -> list[Send]:
        """Each level member's send, in their order; those who have frames of their own are passed over."""
        for connection in dirty:
            self._level[connection] = _SKIP
        sends = list(self._level.values())
        for connection in dirty:
            self._level[connection] = connection.send
        return sends

    def _send_to_each(self, sends: list[Send], told: _Told, members: Iterable[Connection]) -> None:
        # The hot loop: one system call per member, and of each member only what that needs is touched: between two
        # ticks the processor's caches are full of other things.
        data, size = told.data, len(told.data)
        failed: list[tuple[int, int | None]] = []
        for index, send in enumerate(sends):
            try:
                sent = send(data)
            except BlockingIOError:
                failed.append((index, 0))
            except OSError:
                failed.append((index, None))
            else:
                if sent != size:
                    failed.append((index, sent))
        if failed:
            listed = list(members)  # as they were: of a whole room at most newcomers, who stand at the end, came since
            for index, taken in failed:
                self._settle(listed[index], told, data, taken)

    def _write(self, connection: Connection, told: _Told) -> None:
        """Write a member's own frames and then the shared ones."""
        data = b"".join((*connection.private, told.data)) if connection.private else told.data
        connection.private.clear()
        if not data:
            return
        taken: int | None
        try:
            taken = connection.send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = None
        if taken != len(data):
            self._settle(connection, told, data, taken)

    def _settle(self, connection: Connection, told: _Told, data: bytes, taken: int | None) -> None:
        """A member's socket took only so many bytes of `data`, or None: it is gone."""
        if taken is None:
            connection.lost(told.events)
            return
        self.remove(connection)
        self._backlog.fall_behind(connection, memoryview(data)[taken:], told.events, told.head)
        for key, frame in self._pending_transient.items():  # told while this tick was being written
            connection.put_in_lane(key, frame)

    def _bring_in(self, connection: Connection, late: list[bytes], head: int) -> None:
        """A newcomer gets the part of the tick that came after it joined, and is level from then on."""
        connection.sent += len(late)
        connection.counted_from = self._flushed_events
        connection.stage = Stage.LEVEL
        self._level[connection] = connection.send
        self._counters.messages_out += len(late)
        self._write(connection, _Told(b"".join(late), len(late), head))

    def _becomes_newcomer(self, connection: Connection) -> None:
        connection.stage = Stage.NEWCOMER
        connection.skip = len(self._pending)
        self._newcomers.append(connection)
