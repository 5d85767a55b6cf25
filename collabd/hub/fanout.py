"""Telling everyone: frames of one scheduler tick are joined once and written to every member without waiting.

Law of this file: a level member costs one system call per tick and nothing is allocated per delivery; only a member
whose socket would block gets a backlog and a task (docs/performance.md, "Fan-out"). Whoever is told what is decided
by three numbers: the ring's head, a member's position, and how many frames of the running tick a newcomer skips.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from collabd.errors import CollabdError
from collabd.hub.connection import Connection, Stage
from collabd.protocol import close_codes

if TYPE_CHECKING:
    from collabd.hub.older import OlderEvents
    from collabd.hub.ring import Ring
    from collabd.hub.tick import Tick
    from collabd.metrics import Counters

logger = logging.getLogger("collabd.hub")

SLICE: Final = 256
"""Members written to before other tasks get a turn, so that one huge room does not starve a small one."""

CHUNK_BYTES: Final = 256 * 1024
"""How much of a replay is handed to a socket at once."""


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
        self._older = older
        self._nursery = nursery
        self._counters = counters
        self._outbox_max_bytes = outbox_max_bytes
        self._tick = tick
        self._wake = trio.Event()
        self._pending: list[bytes] = []
        self._pending_transient: dict[tuple[str, str], bytes] = {}
        self._dirty: list[Connection] = []
        self._newcomers: list[Connection] = []
        self._level: dict[Connection, None] = {}
        self._backlogged: dict[Connection, None] = {}
        self._flushed_events = 0
        self._flushing = False
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
        for connection in self._backlogged:
            connection.put_in_lane(key, frame)
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
        if connection.stage is Stage.LEVEL and not connection.private and not self._flushing:
            try:
                frame = frame[connection.send(frame) :]
            except BlockingIOError:
                pass
            except OSError:
                self._lost(connection, 0)
        if frame:
            self.tell_one(connection, frame)

    def finish(self, connection: Connection, last_frame: bytes) -> None:
        """Make all that a connection is still owed, and a last frame, part of its own outbox: it is about to close."""
        if connection.stage is Stage.LEVEL:
            connection.private += self._pending
        elif connection.stage is Stage.NEWCOMER:
            connection.private += self._pending[connection.skip :]
        connection.private.append(last_frame)

    def add(self, connection: Connection) -> None:
        """Take in a connection whose WELCOME is in its outbox; what its socket takes at once is written now."""
        connection.stage = Stage.BACKLOGGED
        self._backlogged[connection] = None
        if not self._write_what_is_ready(connection):
            self._nursery.start_soon(self._bring_level, connection)

    def give_up(self, connection: Connection) -> None:
        """Forget a connection that the server closes; what it was still owed failed to reach it."""
        if connection.stage is Stage.BACKLOGGED:
            connection.sent -= connection.unsent_events
            self._count_failures(connection, self._owed(connection))
        self.remove(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed or gone."""
        if connection.stage is Stage.LEVEL:
            connection.sent += self._flushed_events - connection.counted_from
            del self._level[connection]
        elif connection.stage is Stage.BACKLOGGED:
            del self._backlogged[connection]
            self._note_superseded(connection)
        elif connection.stage is Stage.NEWCOMER:
            self._newcomers.remove(connection)
        connection.stage = Stage.CLOSED

    def events_sent(self, connection: Connection) -> int:
        """Events written to a connection, or handed to its backlog, so far."""
        live = self._flushed_events - connection.counted_from if connection.stage is Stage.LEVEL else 0
        return connection.sent + live

    def queued_bytes(self, connection: Connection) -> int:
        """Bytes that wait for this connection's socket."""
        waiting = len(connection.unsent) + sum(map(len, connection.private)) + connection.lane_bytes
        if connection.stage is Stage.BACKLOGGED:
            waiting += self._ring.bytes_after(connection.position)
        return waiting

    def connections(self) -> list[Connection]:
        """All connections of the run."""
        return [*self._level, *self._newcomers, *self._backlogged]

    # The flusher, and the task of a backlogged member.

    def wake(self) -> None:
        """Have the task write what was told, in the next turn."""
        self._wake.set()

    def write_at_once(self, most: int) -> int:
        """Write what was told now, if that is to at most so many members, else leave it to the task.

        Answers how many it was. A fault is raised by the task, whose end is its run's.
        """
        if self._flushing or len(self._level) + len(self._newcomers) > most:
            self._wake.set()
            return 0
        try:
            members, told = self._take_tick()
            self._write_to_slice(members, *told)
            self._check_bounds()
        except Exception as error:
            self._fault = error
            self._wake.set()
            return 0
        return len(members)

    async def run(self) -> None:
        """Write whenever there is something to tell; runs until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._fault is not None:
                raise self._fault
            self._flushing = True
            await self._flush()
            self._flushing = False

    async def _flush(self) -> None:
        """Write one tick's frames to everyone."""
        members, told = self._take_tick()
        for start in range(0, len(members), SLICE):
            if start:
                await trio.lowlevel.checkpoint()
            self._write_to_slice(members[start : start + SLICE], *told)
        self._check_bounds()

    def _take_tick(self) -> tuple[list[Connection], tuple[bytes, int, int]]:
        """Whom to write to, and (the bytes, how many events they are, the log's head); newcomers get theirs here."""
        pending, self._pending = self._pending, []
        self._pending_transient = {}
        newcomers, self._newcomers = self._newcomers, []
        dirty, self._dirty = self._dirty, []
        members = list(self._level) if pending else dirty
        self._flushed_events += len(pending)
        self._counters.messages_out += len(pending) * len(self._level)
        for connection in newcomers:
            self._bring_in(connection, pending, self._ring.head)
        return members, (b"".join(pending), len(pending), self._ring.head)

    def _write_to_slice(self, members: list[Connection], data: bytes, events: int, flushed_head: int) -> None:
        # The hot loop: one send per member, nothing else on the common way. (`connection.send(data)` would look for a
        # method first; CPython 3.11 reads a slot at once only where the two are apart.)
        level = Stage.LEVEL
        size = len(data)
        for connection in members:
            if connection.stage is not level:
                continue
            if connection.private or not size:
                self._write(connection, data, events, flushed_head)
                continue
            send = connection.send
            try:
                sent = send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._lost(connection, events)
                continue
            if sent != size:
                self._fall_behind(connection, memoryview(data)[sent:], events, flushed_head)

    def _write(self, connection: Connection, data: bytes, events: int, flushed_head: int) -> None:
        """Write a member's own frames and then the shared ones."""
        data = b"".join((*connection.private, data))
        connection.private.clear()
        if not data:
            return
        try:
            sent = connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost(connection, events)
            return
        if sent != len(data):
            self._fall_behind(connection, memoryview(data)[sent:], events, flushed_head)

    def _bring_in(self, connection: Connection, pending: list[bytes], flushed_head: int) -> None:
        """A newcomer gets the part of the tick that came after it joined, and is level from then on."""
        late = pending[connection.skip :]
        connection.sent += len(late)
        connection.counted_from = self._flushed_events
        connection.stage = Stage.LEVEL
        self._level[connection] = None
        self._counters.messages_out += len(late)
        self._write(connection, b"".join(late), len(late), flushed_head)

    def _fall_behind(self, connection: Connection, rest: memoryview, events: int, flushed_head: int) -> None:
        """A member's socket did not take everything: keep the rest and give it a task."""
        self.remove(connection)
        connection.stage = Stage.BACKLOGGED
        connection.unsent = rest
        connection.unsent_events = events
        connection.position = flushed_head
        for key, frame in self._pending_transient.items():  # told while this tick was being written
            connection.put_in_lane(key, frame)
        self._backlogged[connection] = None
        self._nursery.start_soon(self._bring_level, connection)

    async def _bring_level(self, connection: Connection) -> None:
        """Write a backlog as the socket drains, until the connection is level or gone."""
        try:
            while not self._write_what_is_ready(connection):
                if connection.unsent:
                    await connection.link.wait_writable()
                else:
                    await self._fetch_older(connection)
        except (OSError, trio.ClosedResourceError):
            self._lost(connection, 0)
        except CollabdError as error:
            logger.error("run %s: a replay failed: %s", connection.session.run.run_id, error)
            connection.close(close_codes.SERVER_FAULT, "history could not be read")

    def _write_what_is_ready(self, connection: Connection) -> bool:
        """Write until the socket is full or memory has no more; True when nothing is left for a task to do."""
        while connection.stage is Stage.BACKLOGGED:
            if not connection.unsent and not self._next_chunk(connection):
                return connection.stage is not Stage.BACKLOGGED
            try:
                sent = connection.send(connection.unsent)
            except BlockingIOError:
                return False
            except OSError:
                self._lost(connection, 0)
                break
            connection.unsent = memoryview(connection.unsent)[sent:]
            if connection.unsent:
                return False
            connection.unsent = b""
            connection.unsent_events = 0
        return True

    def _next_chunk(self, connection: Connection) -> bool:
        """Fill `unsent` from memory. False when there is nothing: the connection is level, or needs older events."""
        head = self._ring.head
        frames: list[bytes] = []
        while connection.position < head and not frames and self._ring.covers(connection.position):
            frames, connection.position = self._ring.take(
                connection.position, head, CHUNK_BYTES, critical_until=connection.critical_until
            )
        if connection.position == head:
            frames += connection.take_lane()
        connection.sent += len(frames)
        connection.unsent_events = len(frames)
        self._counters.messages_out += len(frames)
        connection.unsent = b"".join((*connection.private, *frames))
        connection.private.clear()
        if connection.unsent:
            return True
        if connection.position == head:
            self._becomes_newcomer(connection)
        return False

    def _becomes_newcomer(self, connection: Connection) -> None:
        del self._backlogged[connection]
        self._note_superseded(connection)
        connection.stage = Stage.NEWCOMER
        connection.catching_up = False
        connection.skip = len(self._pending)
        self._newcomers.append(connection)

    async def _fetch_older(self, connection: Connection) -> None:
        """Read the next part of a replay that memory no longer holds; joiners at the same place share one read."""
        chunk = await self._older.chunk(
            connection.position + 1,
            max(self._ring.first - 1, connection.position + 1),
            critical_until=connection.critical_until,
        )
        if connection.stage is not Stage.BACKLOGGED:
            return
        if chunk is None:
            self._overflow(connection, "trimmed past")
            return
        connection.unsent = chunk.data
        connection.unsent_events = chunk.events
        connection.sent += chunk.events
        connection.position = chunk.reached
        self._counters.messages_out += chunk.events

    def _check_bounds(self) -> None:
        for connection in tuple(self._backlogged):
            if connection.stage is Stage.BACKLOGGED:
                self._check_bound(connection)

    def _check_bound(self, connection: Connection) -> None:
        """Close a connection that let more wait than its outbox may hold; resumed, it starts from its position."""
        if connection.catching_up:  # a long replay is not slowness: only what came beside it counts
            waiting = sum(map(len, connection.private)) + connection.lane_bytes
        else:
            waiting = self.queued_bytes(connection)
        if waiting > self._outbox_max_bytes:
            self._overflow(connection, "queue overflow")

    def _overflow(self, connection: Connection, reason: str) -> None:
        connection.close(close_codes.TOO_SLOW, f"too slow: {reason}")

    def _lost(self, connection: Connection, events: int) -> None:
        """The peer is gone: a write failed."""
        if connection.stage is Stage.CLOSED:
            return
        connection.sent -= events
        self._count_failures(connection, events)
        connection.close(close_codes.ABNORMAL, "connection lost")

    def _owed(self, connection: Connection) -> int:
        """Events that a backlogged connection has not been written yet."""
        ring, reached = self._ring, max(connection.position, connection.critical_until)
        replay = ring.critical_after(connection.position) - ring.critical_after(reached)
        return connection.unsent_events + replay + ring.head - reached + len(connection.lane)

    def _count_failures(self, connection: Connection, events: int) -> None:
        """Count events that should have reached the session and did not."""
        if not events:
            return
        session = connection.session
        session.health.messages_failed += events
        session.health.note(session.run.hub.now_ms(), "failed", events)
        self._counters.message_failures += events

    def _note_superseded(self, connection: Connection) -> None:
        if connection.superseded:
            session = connection.session
            session.health.note(session.run.hub.now_ms(), "transient_dropped", connection.superseded)
            connection.superseded = 0
