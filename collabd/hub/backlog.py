"""Members whose sockets would block, and newcomers with history to read: each has a task that brings it level again.

Law of this file: what such a member gets comes from the run's ring, or from the log where memory no longer holds it,
never from a queue of its own; only the latest of each kind of transient event waits for it. How much may wait is
bounded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import trio

from collabd.errors import CollabdError
from collabd.hub.connection import Connection, Stage
from collabd.hub.older import CHUNK_BYTES
from collabd.protocol import close_codes

if TYPE_CHECKING:
    from collabd.hub.older import OlderEvents
    from collabd.hub.ring import Ring
    from collabd.metrics import Counters

logger = logging.getLogger("collabd.hub")


class Backlog:
    """The backlogged members of one run; `is_level` is called for one that has caught up.

    `outbox_max_bytes` bounds what may wait for one slow member; a replay does not count against it.
    """

    def __init__(
        self,
        ring: Ring,
        older: OlderEvents,
        nursery: trio.Nursery,
        counters: Counters,
        outbox_max_bytes: int,
        is_level: Callable[[Connection], None],
    ) -> None:
        self._ring = ring
        self._older = older
        self._nursery = nursery
        self._counters = counters
        self._outbox_max_bytes = outbox_max_bytes
        self._is_level = is_level
        self._members: dict[Connection, None] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._members)

    def add(self, connection: Connection) -> None:
        """Take in a connection whose WELCOME is in its outbox; what its socket takes at once is written now."""
        connection.stage = Stage.BACKLOGGED
        self._members[connection] = None
        if not self._write_what_is_ready(connection):
            self._nursery.start_soon(self._bring_level, connection)

    def fall_behind(self, connection: Connection, rest: memoryview, events: int, reached: int) -> None:
        """Take in a member whose socket did not take everything: `rest` is what it did not take.

        `events` is how many events were written to it last, `reached` the last sequence number among them.
        """
        connection.stage = Stage.BACKLOGGED
        connection.unsent = rest
        connection.unsent_events = events
        connection.position = reached
        self._members[connection] = None
        self._nursery.start_soon(self._bring_level, connection)

    def remove(self, connection: Connection) -> None:
        """Forget a member that is closed or gone, or has caught up."""
        del self._members[connection]
        if connection.superseded:
            session = connection.session
            session.health.note(session.run.hub.now_ms(), "transient_dropped", connection.superseded)
            connection.superseded = 0

    def put_in_lanes(self, key: tuple[str, str], frame: bytes) -> None:
        """Keep the newest transient event of each (user, type) for every member."""
        for connection in self._members:
            connection.put_in_lane(key, frame)

    def owed(self, connection: Connection) -> int:
        """Events that a member has not been written yet."""
        ring, reached = self._ring, max(connection.position, connection.critical_until)
        replay = ring.critical_after(connection.position) - ring.critical_after(reached)
        return connection.unsent_events + replay + ring.head - reached + len(connection.lane)

    def check_bounds(self) -> None:
        """Close who let more wait than its outbox may hold; resumed, it starts from its position."""
        for connection in tuple(self._members):
            if connection.catching_up:  # a long replay is not slowness: only what came beside it counts
                waiting = sum(map(len, connection.private)) + connection.lane_bytes
            else:
                waiting = connection.queued_bytes() + self._ring.bytes_after(connection.position)
            if waiting > self._outbox_max_bytes:
                _overflow(connection, "queue overflow")

    # The task of a member

    async def _bring_level(self, connection: Connection) -> None:
        """Write a backlog as the socket drains, until the connection is level or gone."""
        try:
            while not self._write_what_is_ready(connection):
                if connection.unsent:
                    await connection.link.wait_writable()
                else:
                    await self._fetch_older(connection)
        except (OSError, trio.ClosedResourceError):
            connection.lost(0)
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
                connection.lost(0)
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
            self.remove(connection)
            connection.catching_up = False
            self._is_level(connection)
        return False

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
            _overflow(connection, "trimmed past")
            return
        connection.unsent = chunk.data
        connection.unsent_events = chunk.events
        connection.sent += chunk.events
        connection.position = chunk.reached
        self._counters.messages_out += chunk.events


def _overflow(connection: Connection, reason: str) -> None:
    connection.close(close_codes.TOO_SLOW, f"too slow: {reason}")
