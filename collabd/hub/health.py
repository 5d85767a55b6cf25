"""What is known of one session's health: counted by the hub, kept after the session is gone, explained by admin.

Law of this file: plain numbers in bounded memory; no Prometheus, no clock. Names follow docs/protocol.md, "Admin".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from collabd.hub.timeline import Entry, noted
from collabd.protocol.latency import LatencyDigest
from collabd.protocol.quality import delivery_rate, health_status, quality_score

if TYPE_CHECKING:
    from collabd.hub.connection import Connection

MAX_RECORDS: Final = 20_000
"""How many sessions' figures are kept at most; beyond it those gone for longest are forgotten."""

LATENCY_THRESHOLDS_MS: Final = (500, 1000)
"""A round trip on the other side of one of these than the one before is an entry in the timeline."""


class SessionHealth:
    """One session's figures. Times are in milliseconds since 1970, `client_queue` counts messages."""

    __slots__ = (
        "client_queue",
        "close_code",
        "close_reason",
        "connected_at",
        "connection",
        "disconnected_at",
        "fallbacks",
        "last_activity",
        "last_sequence",
        "latency",
        "latency_band",
        "messages_failed",
        "messages_received",
        "messages_sent",
        "reconnections",
        "run_id",
        "session_id",
        "timeline",
        "transport",
        "user_id",
    )

    def __init__(self, session_id: str, user_id: str, run_id: str, connected_at: int, transport: str) -> None:
        self.session_id = session_id
        self.user_id = user_id
        self.run_id = run_id
        self.connected_at = connected_at
        self.disconnected_at: int | None = None
        self.transport = transport
        self.last_activity = connected_at
        self.last_sequence: int | None = None
        self.reconnections = 0
        self.fallbacks = 0
        self.messages_sent = 0
        self.messages_received = 0
        self.messages_failed = 0
        self.latency: LatencyDigest | None = None
        self.latency_band = 0
        self.client_queue = 0
        self.close_code: int | None = None
        self.close_reason = ""
        self.timeline: list[Entry] = []
        # What is sent and queued is counted by the fan-out while a connection is up.
        self.connection: Connection | None = None

    def note(self, now: int, what: str, *values: Any) -> None:
        """Put an entry into the timeline (timeline.KINDS) at `now`, in milliseconds since 1970."""
        noted(self.timeline, (now, what, *values))

    def add_latency(self, milliseconds: float, now: int) -> None:
        """Take one measured round trip, at `now` (milliseconds since 1970)."""
        if self.latency is None:
            self.latency = LatencyDigest()
        self.latency.add(milliseconds)
        band, before = bisect_left(LATENCY_THRESHOLDS_MS, milliseconds), self.latency_band
        if band != before:
            what, threshold = ("latency_rose", band - 1) if band > before else ("latency_fell", band)
            self.note(now, what, round(milliseconds), LATENCY_THRESHOLDS_MS[threshold])
            self.latency_band = band

    def sent(self) -> int:
        """Events sent to the session so far."""
        connection = self.connection
        live = 0 if connection is None else connection.session.run.fanout.events_sent(connection)
        return self.messages_sent + live

    def queued(self) -> int:
        """Bytes waiting for the session's socket."""
        connection = self.connection
        return 0 if connection is None else connection.session.run.fanout.queued_bytes(connection)

    def quality(self) -> float:
        """The score of docs/protocol.md, 0 to 100."""
        average = self.latency.average() if self.latency else None
        return quality_score(average, self.reconnections, delivery_rate(self.sent(), self.messages_failed))

    def status(self) -> str:
        """HEALTHY, DEGRADED or UNHEALTHY."""
        return health_status(self.quality())


class HealthRecords:
    """The figures of all sessions, those that are gone included, bounded in number."""

    def __init__(self, max_records: int = MAX_RECORDS) -> None:
        self._max = max_records
        self._live: dict[str, SessionHealth] = {}
        self._gone: OrderedDict[str, SessionHealth] = OrderedDict()

    def __iter__(self) -> Iterator[SessionHealth]:
        yield from self._live.values()
        yield from self._gone.values()

    def live(self) -> list[SessionHealth]:
        """Figures of the sessions that are connected or polling."""
        return list(self._live.values())

    def get(self, session_id: str) -> SessionHealth | None:
        """One session's figures, connected or gone."""
        return self._live.get(session_id) or self._gone.get(session_id)

    def came(self, record: SessionHealth) -> None:
        """A session connected, or came back."""
        self._gone.pop(record.session_id, None)
        record.disconnected_at = None
        self._live[record.session_id] = record

    def went(self, record: SessionHealth, now: int) -> None:
        """A session disconnected; its figures stay until cleaned up or pushed out."""
        if self._live.pop(record.session_id, None) is None:
            return
        record.disconnected_at = now
        record.client_queue = 0
        self._gone[record.session_id] = record
        while len(self._gone) > self._max:
            self._gone.popitem(last=False)

    def forget_older_than(self, cutoff: int) -> int:
        """Forget sessions disconnected before `cutoff` (milliseconds since 1970); answers how many."""
        old = [
            key
            for key, record in self._gone.items()
            if record.disconnected_at is None or record.disconnected_at < cutoff
        ]
        for key in old:
            del self._gone[key]
        return len(old)
